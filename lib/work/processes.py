"""Which processes that run work are alive: each counts its beats in a row, and everybody watches whether others do.

No clock is compared with another's: a process is dead when this process has not seen its count grow for eight seconds
of its own monotonic time, when it has no row, or, on the same kernel, when its process number is gone or is another's.
"""

import hashlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import delete, insert, select, update

from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import work_processes

BEAT_S = 2.0
DEAD_S = 8.0
_P = work_processes.c


class _Sighting(NamedTuple):
    beats: int
    at: float


class Processes:
    """This process's own row, and what it has seen of the others."""

    def __init__(self, store: Store, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._seen: dict[str, _Sighting] = {}
        self._lock = threading.Lock()
        self.executor_id = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(6)}"

    def enter(self) -> None:
        """Write this process's row, before it takes any work."""
        row = {
            "executor_id": self.executor_id,
            "host_key": read_host_key(),
            "pid": os.getpid(),
            "pid_started": read_start(os.getpid()) or 0,
            "beats": 0,
            "started_at": utc_now(),
        }
        with self._store.write() as connection:
            connection.execute(insert(work_processes), row)

    def beat(self) -> None:
        """Count one more beat; the row is written again where somebody took it away."""
        with self._store.write() as connection:
            own_beat = update(work_processes).where(_P.executor_id == self.executor_id).values(beats=_P.beats + 1)
            is_there = connection.execute(own_beat).rowcount == 1
        if not is_there:
            self.enter()

    def leave(self) -> None:
        """Take this process's row away: others go on with its work at once."""
        self.bury([self.executor_id])

    def bury(self, executor_ids: Collection[str]) -> None:
        """Take the rows of dead processes away."""
        with self._store.write() as connection:
            connection.execute(delete(work_processes).where(_P.executor_id.in_(list(executor_ids))))

    def list_dead(self, executor_ids: Collection[str]) -> list[str]:
        """List which of these processes are dead, as far as this one has seen; call it every few seconds."""
        with self._lock:
            return self._list_dead(executor_ids)

    def _list_dead(self, executor_ids: Collection[str]) -> list[str]:
        now = self._monotonic()
        with self._store.read() as connection:
            rows = {row.executor_id: row for row in connection.execute(select(work_processes))}
        self._seen = {name: sighting for name, sighting in self._seen.items() if name in rows}
        for name, row in rows.items():
            if name not in self._seen or self._seen[name].beats != row.beats:
                self._seen[name] = _Sighting(row.beats, now)
        host_key = read_host_key()
        return [
            name
            for name in executor_ids
            if name != self.executor_id
            and (
                name not in rows
                or now - self._seen[name].at >= DEAD_S
                or (bool(host_key) and rows[name].host_key == host_key and not _is_running(rows[name]))
            )
        ]


def _is_running(row: object) -> bool:
    """Whether a process of this kernel still runs; a number that was used again since is not it."""
    return read_start(int(row.pid)) == int(row.pid_started)  # type: ignore[attr-defined]


def read_start(pid: int) -> int | None:
    """Read when a process began, in the kernel's own ticks; None where it does not run, or is only a remnant."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def read_host_key() -> str:
    """Make a key of the running kernel and the space of its process numbers; empty where neither can be read."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {space}".encode()).hexdigest()
