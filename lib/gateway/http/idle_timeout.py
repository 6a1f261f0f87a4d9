"""The time that a connection may last on which nothing is asked, or not to its end."""

import asyncio
from collections.abc import Callable

from lib.calls.deadline import Alarm, set_alarm


class Silence(Alarm):
    """Calls `over` when it has lasted too long."""

    __slots__ = ("_alarms", "_loop", "_over")

    def __init__(self, over: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(0.0)
        self._over = over
        self._loop = loop
        self._alarms: set[Alarm] = set()

    def may_last(self, seconds: float) -> None:
        """So long, from now on."""
        self.due = self._loop.time() + seconds
        self._alarms = set_alarm(self, self._loop)

    def end(self) -> None:
        """Something was asked."""
        self._alarms.discard(self)

    def forget(self) -> None:
        """There is nobody left to be told: who made this and this itself let each other go."""
        self.end()
        self._over = _nothing

    def ring(self) -> None:
        """It has."""
        self._over()


def _nothing() -> None:
    pass
