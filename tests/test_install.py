"""Making the environment: which Python is taken, what is said when there is none, and when nothing is left to do."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parent.parent
SHELL = "/bin/sh"


def run_script(name: str, path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A shell script with a PATH of our own."""
    environment = {"PATH": str(path), "HOME": str(path)} | variables
    return subprocess.run(
        [SHELL, str(PROJECT / "scripts" / name)],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def program(folder: Path, name: str, script: str) -> Path:
    """A shell program in a folder."""
    path = folder / name
    path.write_text(f"#!{SHELL}\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def install() -> ModuleType:
    """scripts/install.py as a module."""
    spec = importlib.util.spec_from_file_location("install", PROJECT / "scripts" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.feature("SET-1")
def test_a_machine_without_python_is_told_what_to_install(tmp_path: Path) -> None:
    done = run_script("find_python.sh", tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Python 3.11 or newer" in done.stderr
    assert "python3-venv" in done.stderr


@pytest.mark.feature("SET-1")
def test_a_python_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path, "python3.11", "exit 1")
    (tmp_path / "python3").symlink_to(sys.executable)
    done = run_script("find_python.sh", tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "python3"))


@pytest.mark.feature("SET-1")
def test_a_python_without_venv_is_told_which_package_brings_it(tmp_path: Path) -> None:
    program(tmp_path, "python3", 'case "$2" in *ensurepip*) exit 1;; *print*) echo 3.12;; esac')
    done = run_script("find_python.sh", tmp_path)
    assert done.returncode == 1
    assert "python3.12-venv" in done.stderr


@pytest.mark.feature("SET-1")
def test_the_second_run_finds_nothing_to_do_until_a_pin_changes(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("constraints.txt", "requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).write_text("a==1\n")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "install.py").write_text("")
    venv = tmp_path / ".venv"
    venv.mkdir()
    (venv / "python").write_text("")
    for name, value in {"PROJECT": tmp_path, "VENV": venv, "PYTHON": venv / "python"}.items():
        monkeypatch.setattr(install, name, value)
    installed: list[str] = []
    monkeypatch.setattr(install, "install", installed.append)

    assert install.main("dev") == 0
    assert install.main("dev") == 0
    assert install.main("run") == 0
    assert installed == ["dev"]

    (tmp_path / "constraints.txt").write_text("a==2\n")
    assert install.main("run") == 0
    assert installed == ["dev", "run"]


@pytest.mark.feature("SET-1")
def test_an_installation_that_fails_says_so_and_is_tried_again(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "VENV", tmp_path)
    monkeypatch.setattr(install, "PYTHON", Path(sys.executable))

    def fail(kind: str) -> None:
        raise subprocess.CalledProcessError(1, ["python", "-m", "pip", "install", "nothing"])

    monkeypatch.setattr(install, "install", fail)
    assert install.main("run") == 1
    assert "run make again" in capsys.readouterr().err
    assert not install.is_done("run")


@pytest.mark.feature("SET-1")
def test_every_requirement_is_pinned_exactly_and_constrained() -> None:
    pins = {line for line in (PROJECT / "constraints.txt").read_text().splitlines() if "==" in line}
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (PROJECT / name).read_text().splitlines():
            if line and not line.startswith(("#", "-r")):
                assert line.replace("[binary]", "") in pins
    recognition = (PROJECT / "requirements-ocr.txt").read_text().splitlines()
    assert all("==" in line for line in recognition if not line.startswith("#"))


@pytest.mark.feature("SET-2")
def test_the_browser_tests_use_the_browser_that_is_installed(tmp_path: Path) -> None:
    chromium = program(tmp_path, "chromium", "exit 0")
    assert run_script("find_browser.sh", tmp_path).stdout.strip() == str(chromium)
    named = program(tmp_path, "my browser", "exit 0")
    assert run_script("find_browser.sh", tmp_path, LLM_MANAGER_BROWSER=str(named)).stdout.strip() == str(named)


@pytest.mark.feature("SET-2")
def test_a_machine_without_a_browser_is_told_what_to_do(tmp_path: Path) -> None:
    program(tmp_path, "id", "echo 1000")
    missing = tmp_path / "empty"
    missing.mkdir()
    (tmp_path / "scripts").symlink_to(PROJECT / "scripts")
    done = subprocess.run(
        [SHELL, "scripts/find_browser.sh"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "apt-get install chromium" in done.stderr


@pytest.mark.feature("SET-2")
def test_what_machines_run_is_make_test() -> None:
    script = PROJECT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()
