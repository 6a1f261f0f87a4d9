"""How a run gets to an execution: through the engine of durable work, or on a loop of this process's own."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lib.work.work import Work

KIND = "workflow"
_MOST_AT_ONCE = 32  # on a loop of a process's own
Execute = Callable[[str], Awaitable[Any]]


class Launcher(Protocol):
    """Sees to it that a run is executed, here or elsewhere."""

    def launch(self, run_id: str, team_id: int, number: int) -> None:
        """Have the run gone on with; `number` grows with each time that there is news for it."""
        ...


class WorkLauncher:
    """Executes runs through the engine of durable work: in whatever process runs work, again when that one dies."""

    def __init__(self, work: "Work") -> None:
        self._work = work

    def launch(self, run_id: str, team_id: int, number: int) -> None:
        """Queue the run; the same number is queued once, whoever does it."""
        self._work.start(KIND, {"run_id": run_id}, run_id=f"{run_id}.{number}", team_id=team_id)


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
