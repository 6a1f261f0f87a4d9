"""A stopwatch for a run that may end before it has begun."""

import time


class Stopwatch:
    """Counts milliseconds between `start` and `stop`."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._stopped: float | None = None

    def start(self) -> None:
        """Begin to count."""
        self._started = time.monotonic()

    def stop(self) -> None:
        """End counting at this moment."""
        self._stopped = time.monotonic()

    @property
    def has_run(self) -> bool:
        """Whether it was started."""
        return self._started is not None

    @property
    def milliseconds(self) -> int | None:
        """The time counted so far; None before the start."""
        if self._started is None:
            return None
        return round(((self._stopped or time.monotonic()) - self._started) * 1000)
