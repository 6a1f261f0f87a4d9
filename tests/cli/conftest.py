"""`run`: a command on a data folder of its own."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import CommandServer, Run
from tests.conftest import copy_databases


@pytest.fixture(scope="session")
def command_server() -> Iterator[CommandServer]:
    """One for all commands of a test process."""
    server = CommandServer()
    yield server
    server.close()


@pytest.fixture
def run(tmp_path: Path, command_server: CommandServer, sqlite_template: Path) -> Run:
    """Run `python -m lib …` on a data folder with empty, migrated databases."""
    copy_databases(sqlite_template, tmp_path / "data")

    def run(*words: str, input: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment = inherited | {"LLM_MANAGER_DATA": str(tmp_path / "data"), "PYTHONUTF8": "1"} | variables
        return command_server.run(words, environment, input)

    return run
