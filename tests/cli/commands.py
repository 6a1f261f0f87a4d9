"""`python -m lib …` for tests: a process of its own, an environment and a data folder of its own, status and output."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.waiting import CEILING_S

PROJECT = Path(__file__).resolve().parent.parent.parent
Run = Callable[..., subprocess.CompletedProcess[str]]


class CommandServer:
    """Runs commands in processes forked from one that has loaded the library."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(PROJECT / "tests" / "cli" / "command_server.py")],
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONUTF8": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, words: tuple[str, ...], environment: dict[str, str], input: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end, in the project's folder."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            files = {name: Path(folder, name) for name in ("stdin", "stdout", "stderr")}
            for name, path in files.items():
                path.write_text(input if name == "stdin" else "", encoding="utf-8")
            request = {"words": words, "environment": environment, "folder": str(PROJECT)}
            request |= {name: str(path) for name, path in files.items()}
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            status = int(self._process.stdout.readline())
            output = {name: files[name].read_text(encoding="utf-8") for name in ("stdout", "stderr")}
        return subprocess.CompletedProcess(words, status, **output)

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(CEILING_S)


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    """Standard output of a command that had to work."""
    assert (done.returncode, done.stderr) == (0, ""), f"{done.args}: {done.returncode}\n{done.stderr}"
    return done.stdout


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The sentence of a command that had to be refused: one line, no trace."""
    lines = done.stderr.strip().splitlines()
    assert (done.returncode, len(lines)) == (1, 1), f"{done.args}: {done.returncode}\n{done.stderr}"
    return done.stderr
