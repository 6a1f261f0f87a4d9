"""One program of ours, once, under limits: bytes in, bytes out.

The kernel ends a child that takes more memory or processor time than it may, and refuses that it writes a file (or, for
who needs some, a large one). The
interpreter refuses sockets and programs: a document, a schema or a pattern never makes this installation ask another
machine for anything.
"""

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PROJECT = Path(__file__).parents[2]
_LIMITED = """
import os, resource, runpy, sys
for kind, most in (("AS", {memory}), ("CPU", {cpu}), ("FSIZE", {file_bytes}), ("CORE", 0)):
    if most is not None:
        resource.setrlimit(getattr(resource, "RLIMIT_" + kind), (most, most))
def refuse(event, _, never=("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "urllib.")):
    if event.startswith(never):
        raise PermissionError("This process may not do " + event)
sys.addaudithook(refuse)
os.nice(10)
sys.path.append({project!r})
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class NotComputed(Exception):
    """A child came to no result: too much time, too much memory, or a crash. `why` is a sentence for people."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True)
class ProcessLimits:
    """Limits of one child: bytes of address space, seconds of processor time (None: its jobs have their own) and in
    all, bytes of any file that it writes.
    """

    memory: int
    cpu_s: int | None
    wall_s: float
    file_bytes: int = 0


def build_command(program: Path, arguments: Sequence[str], limits: ProcessLimits) -> list[str]:
    """Build the command that runs a Python file under limits. Run it with `ENVIRONMENT`."""
    code = _LIMITED.format(memory=limits.memory, cpu=limits.cpu_s, file_bytes=limits.file_bytes, project=str(_PROJECT))
    return [sys.executable, "-P", "-c", code, str(program), *arguments]


ENVIRONMENT = {"PATH": ""}


def run(program: Path, arguments: Sequence[str], data: bytes, limits: ProcessLimits) -> bytes:
    """Run a program on `data` and return what it writes; raises NotComputed where it does not end within its limits."""
    command_line = build_command(program, arguments, limits)
    try:
        done = subprocess.run(
            command_line, input=data, capture_output=True, timeout=limits.wall_s, env=ENVIRONMENT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NotComputed(f"It took longer than {limits.wall_s:g} seconds.") from error
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise NotComputed(f"It took more than {limits.cpu_s} seconds of processor time.")
    if done.returncode != 0:
        raise NotComputed("It breaks the program that reads it, or needs more memory than a document may.")
    return done.stdout
