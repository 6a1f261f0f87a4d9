"""Processes of servers on this machine: started under limits, and ended with all that they have started.

A server is the leader of a process group of its own, and carries a token in its environment, which its children
inherit: who has left the group is found by the token. What is stored of a process (machine, boot, moment of its start)
says whether a number still means the same process, so that a later process of this product may end what an earlier one
left behind and nothing else. Where there is no /proc the group alone is known.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TOKEN = "LLM_MANAGER_SERVER"  # noqa: S105 (a variable's name)
_PROC = Path("/proc")
_LOOK_S = 0.02
_GIGABYTE = 1024**3
DEFAULT_LIMITS: Mapping[str, int] = {"DATA": 2 * _GIGABYTE, "NOFILE": 1024, "FSIZE": _GIGABYTE, "CORE": 0}
_LAUNCH = """
import ctypes, json, os, resource, sys
try:
    ctypes.CDLL(None).prctl(1, 9)  # when the starting process ends, so does this one
except (AttributeError, OSError):
    pass
for name, most in json.loads(sys.argv[1]).items():
    kind = getattr(resource, "RLIMIT_" + name, None)
    if kind is not None:
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
try:
    os.execvpe(sys.argv[2], sys.argv[2:], os.environ)
except OSError as error:
    sys.exit(f"{sys.argv[2]} can't be started: {error.strerror}.")
"""


@dataclass(frozen=True)
class ProcessMark:
    """A process as it is stored. `started` is in clock ticks since the boot, 0 where the system does not say."""

    machine: str
    boot_id: str
    pid: int
    started: int
    token: str


def name_machine() -> str:
    """The name of this machine, or container."""
    return socket.gethostname()[:255]


def read_boot_id() -> str:
    """An id of the time since the system started; empty where it has none."""
    with contextlib.suppress(OSError):
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return ""


def read_start(pid: int) -> int:
    """When a process started, in clock ticks since the boot; 0 for one that is not there, or a zombie."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return 0 if fields[0] == "Z" else int(fields[19])
    return 0


def is_gone(pid: int) -> bool:
    """Whether no process has this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _PROC.exists() and read_start(pid) == 0


def mark_process(pid: int, token: str) -> ProcessMark:
    """Describe a process that has just been started here."""
    return ProcessMark(name_machine(), read_boot_id(), pid, read_start(pid), token)


def build_command(command: Sequence[str], limits: Mapping[str, int]) -> list[str]:
    """Build the command that starts another under limits of memory and files."""
    return [sys.executable, "-I", "-S", "-c", _LAUNCH, json.dumps(dict(limits)), *command]


def build_environment(folder: Path, token: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Build a server's whole environment: where programs are, a home of its own, and what an administrator gave it."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        **variables,
        TOKEN: token,
    }


def find_marked(token: str) -> list[int]:
    """Find living processes that carry a token in their environment."""
    variable = f"{TOKEN}={token}".encode()
    process_ids = list[int]()
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if variable in (folder / "environ").read_bytes().split(b"\0") and read_start(int(folder.name)):
                process_ids.append(int(folder.name))
    return process_ids


def signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; False when nobody is in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # of somebody else by now
        return False
    return True


def end_all(mark: ProcessMark, patience_s: float = 1.0, *, is_own: bool = False) -> int:
    """End a process with all that it started, and return how many were still there; blocks for `patience_s` at most
    twice. Does nothing on another machine, or after a restart of this one. `is_own`: this process has started it.
    """
    if (mark.machine, mark.boot_id) != (name_machine(), read_boot_id()):
        return 0
    count = len(_find_living(mark))
    for number in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + patience_s
        if is_own and mark.pid > 1:
            signal_group(mark.pid, number)  # also those who have cleared their environment
        while living := _find_living(mark):
            if mark.pid > 1 and (mark.pid in living or mark.pid in map(_read_group, living)):
                signal_group(mark.pid, number)
            for pid in living:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            if time.monotonic() > until:
                break
            time.sleep(_LOOK_S)
    return count


def _find_living(mark: ProcessMark) -> list[int]:
    """Those that carry the token, and the leader itself while its number still means it."""
    living = set(find_marked(mark.token))
    if mark.started and read_start(mark.pid) == mark.started:
        living.add(mark.pid)
    return sorted(living)


def _read_group(pid: int) -> int:
    with contextlib.suppress(OSError):
        return os.getpgid(pid)
    return 0
