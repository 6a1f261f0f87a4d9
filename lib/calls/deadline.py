"""Moments at which something happens unless it was over before: deadlines of calls, and other alarms.

A timer of the event loop costs three microseconds to set and to take away, a call needs several, and almost none ever
rings. Here an alarm is an entry in a set that is looked through fifty times a second while it holds any: one
costs a tenth of a microsecond, may be moved by an assignment, and rings at most that much too late.
"""

import asyncio
import logging
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)
_STEP_S = 0.02
_set_in: dict[asyncio.AbstractEventLoop, set["Alarm"]] = {}


class Alarm:
    """Rings when `due` has come, in the loop's time; may be moved by setting `due`."""

    __slots__ = ("due",)

    def __init__(self, due: float) -> None:
        self.due = due

    def ring(self) -> None:
        """Called once in the loop when `due` has come."""
        raise NotImplementedError


def set_alarm(alarm: Alarm, loop: asyncio.AbstractEventLoop) -> set[Alarm]:
    """Set an alarm, from its loop; to cancel it, discard it from the set that is returned."""
    alarms = _set_in.get(loop)
    if alarms is None:
        for other in [other for other in list(_set_in) if other.is_closed()]:
            _set_in.pop(other, None)
        alarms = _set_in[loop] = set()
        loop.call_later(_STEP_S, _look, loop)
    alarms.add(alarm)
    return alarms


def _look(loop: asyncio.AbstractEventLoop) -> None:
    alarms = _set_in[loop]
    now = loop.time()
    for alarm in [alarm for alarm in alarms if alarm.due <= now]:
        alarms.discard(alarm)
        try:
            alarm.ring()
        except Exception:  # the boundary between alarms: the others must ring too
            log.exception("an alarm failed")
    if alarms:
        loop.call_later(_STEP_S, _look, loop)
    else:
        del _set_in[loop]


class Deadline(Alarm):
    """Cancels the task that is inside when the moment has come, and turns that into TimeoutError. Loop time."""

    __slots__ = ("_alarms", "_has_rung", "_loop", "_task")

    def __init__(self, due: float, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(due)
        self._loop = loop
        self._has_rung = False

    def __enter__(self) -> Self:
        self._task = asyncio.current_task(self._loop)
        self._alarms = set_alarm(self, self._loop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._alarms.discard(self)
        if self._has_rung and isinstance(error, asyncio.CancelledError):
            assert self._task is not None  # noqa: S101 (it was entered in a task)
            if self._task.uncancel() == 0:
                raise TimeoutError from error

    def ring(self) -> None:
        """Cancel the task that is inside."""
        self._has_rung = True
        assert self._task is not None  # noqa: S101
        self._task.cancel()
