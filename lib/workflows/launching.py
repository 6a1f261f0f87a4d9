"""How a run gets to an execution: through the engine of durable work, or on a loop of this process's own; and again
when it is at work by its row and by nobody, for its process has gone or has dropped it.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sqlalchemy import Connection, select

from lib.clock import utc_now
from lib.workflows.journal import R, is_lost

if TYPE_CHECKING:
    from lib.work.work import Work

KIND = "workflow"
WATCHED_S = 20.0
_MOST_AT_ONCE = 32  # on a loop of a process's own
Execute = Callable[[str], Awaitable[Any]]


class Launcher(Protocol):
    """Sees to it that a run is executed, here or elsewhere."""

    def launch(self, run_id: str, team_id: int, number: int) -> None:
        """Have the run gone on with; `number` grows with each time that there is news for it."""
        ...

    def is_over(self, run_id: str, number: int) -> bool:
        """Whether the launch of this number is done with, so that nobody goes on by it."""
        ...


class WorkLauncher:
    """Executes runs through the engine of durable work: in whatever process runs work, again when that one dies."""

    def __init__(self, work: "Work") -> None:
        self._work = work

    def launch(self, run_id: str, team_id: int, number: int) -> None:
        """Queue the run; the same number is queued once, whoever does it."""
        self._work.start(KIND, {"run_id": run_id}, run_id=f"{run_id}.{number}", team_id=team_id)

    def is_over(self, run_id: str, number: int) -> bool:
        """Whether the engine has done with it, well or not."""
        status = self._work.state(f"{run_id}.{number}")
        return status is not None and status.is_over


class LocalLauncher:
    """Executes runs on an event loop of this process, in a thread of its own: commands, and tests."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._turns = asyncio.Semaphore(_MOST_AT_ONCE)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def launch(self, run_id: str, team_id: int, number: int) -> None:
        """Begin at once."""
        asyncio.run_coroutine_threadsafe(self._run(run_id), self._ensure_loop())

    def is_over(self, run_id: str, number: int) -> bool:
        """Never: a launch here holds nothing up."""
        return False

    async def _run(self, run_id: str) -> None:
        async with self._turns:
            await self._execute(run_id)

    def _ensure_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="workflows", daemon=True)
                self._thread.start()
            return self._loop

    def close(self) -> None:
        """Stop what goes on: the runs can be gone on with."""
        with self._lock:
            loop = self._loop
            thread = self._thread
            self._loop = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        if not thread.is_alive():
            loop.close()


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Sighting(NamedTuple):
    sign: tuple[str, datetime | None]  # owner, and until when it counts as alive
    at: float


class LostRuns:
    """What one process has seen of runs whose sign of life is overdue.

    The clock alone does not say that a run is lost, for clocks jump, and a machine that slept wakes hours later with
    all its runs. A run gives a sign of life every quarter of a minute; one whose sign is overdue has to stay as it is
    for longer than that, by this process's monotonic time.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self._seen: dict[str, _Sighting] = {}

    def watch(self, connection: Connection) -> list[str]:
        """List the runs that stayed overdue while this process looked; call it every few seconds."""
        now = self.monotonic()
        overdue = connection.execute(select(R.id, R.owner, R.wake_at).where(is_lost(utc_now()))).all()
        earlier = self._seen
        self._seen = {}
        for row in overdue:
            sighting = _Sighting((row.owner, row.wake_at), now)
            earlier_sighting = earlier.get(row.id, sighting)
            self._seen[row.id] = earlier_sighting if earlier_sighting.sign == sighting.sign else sighting
        return [run_id for run_id, sighting in self._seen.items() if now - sighting.at >= WATCHED_S]
