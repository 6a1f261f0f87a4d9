"""Runs `parsing` in a child process with little memory, little time and an empty environment."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lib.errors import InvalidInput

MEMORY, CPU_S, WALL_S = 1_500 * 1024 * 1024, 60, 120
_PARSER = Path(__file__).with_name("parsing.py")
_LIMITED = (
    "import os, resource, runpy, sys; "
    f"resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY})); "
    f"resource.setrlimit(resource.RLIMIT_CPU, ({CPU_S}, {CPU_S})); "
    "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
    f"os.nice(10); sys.path.append({str(Path(__file__).parents[2])!r}); "
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


@dataclass(frozen=True)
class Parsed:
    """The text of a file; `page_starts` has the offset of each page where there are pages."""

    text: str
    page_starts: list[int] | None
    media_type: str


def parse(name: str, data: bytes) -> Parsed:
    """The text; InvalidInput with the reason where there is none to be had."""
    command = [sys.executable, "-P", "-c", _LIMITED, str(_PARSER), name]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=WALL_S, env={"PATH": ""}, check=False)
    except subprocess.TimeoutExpired as error:
        raise _refused(name, f"Reading it took longer than {WALL_S} seconds.") from error
    try:
        told = json.loads(done.stdout)
    except ValueError as error:
        out_of_time = done.returncode in (-24, -9)
        why = f"Reading it took more than {CPU_S} seconds." if out_of_time else "It breaks the program that reads it."
        raise _refused(name, why) from error
    if "refused" in told:
        raise _refused(name, told["refused"])
    return Parsed(told["text"], told["page_starts"], told["media_type"])


def _refused(name: str, why: str) -> InvalidInput:
    return InvalidInput(f"{name} can't be read.", why)
