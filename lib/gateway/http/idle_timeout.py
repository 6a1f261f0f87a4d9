"""The timeout of a connection on which no request comes, or none comes whole."""

import asyncio
from collections.abc import Callable

from lib.calls.deadline import Alarm, set_alarm


class IdleTimeout(Alarm):
    """A timer of one connection that calls `over` unless it is stopped or started anew."""

    __slots__ = ("_alarms", "_loop", "_over")

    def __init__(self, over: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(0.0)
        self._over = over
        self._loop = loop
        self._alarms: set[Alarm] = set()

    def restart(self, seconds: float) -> None:
        """Start the timer anew: `over` is called after so many seconds."""
        self.due = self._loop.time() + seconds
        self._alarms = set_alarm(self, self._loop)

    def end(self) -> None:
        """Stop the timer: a request came."""
        self._alarms.discard(self)

    def forget(self) -> None:
        """Stop the timer for good and release its callback, which holds the connection."""
        self.end()
        self._over = _do_nothing

    def ring(self) -> None:
        """Call `over`: the time has passed."""
        self._over()


def _do_nothing() -> None:
    pass
