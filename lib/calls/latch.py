"""A thing that is over once, for whoever waits for it."""

import threading


class Latch:
    """Set once, waited for by any thread: what is left of an Event that costs a fiftieth."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Let everybody go, now and later; once."""
        self._lock.release()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether it was set, after the time at the latest."""
        if not self._lock.acquire(timeout=-1 if timeout_s is None else max(timeout_s, 0.0)):
            return False
        self._lock.release()
        return True
