"""A deadline that moves with every piece of an answer: one timer, looked at when it rings.

`asyncio.timeout` sets a new timer at each move; here a later moment costs an assignment.
"""

import asyncio
from types import TracebackType
from typing import Self


class Deadline:
    """Cancels the task that is inside when the moment has come, and turns that into TimeoutError. Loop time."""

    __slots__ = ("_due", "_has_rung", "_loop", "_task", "_timer")

    def __init__(self, due: float, loop: asyncio.AbstractEventLoop) -> None:
        self._due, self._loop = due, loop
        self._has_rung = False

    def __enter__(self) -> Self:
        self._task = asyncio.current_task(self._loop)
        self._timer = self._loop.call_at(self._due, self._ring)
        return self

    def move(self, due: float) -> None:
        """A new moment, earlier or later."""
        self._due = due
        if due < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(due, self._ring)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._has_rung and isinstance(error, asyncio.CancelledError):
            assert self._task is not None  # noqa: S101 (it was entered in a task)
            if self._task.uncancel() == 0:
                raise TimeoutError from error

    def _ring(self) -> None:
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._ring)
        else:
            self._has_rung = True
            assert self._task is not None  # noqa: S101
            self._task.cancel()
