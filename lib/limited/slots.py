"""How many children with much memory run at once: in this process, and for one person."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from lib.errors import Throttled


class Slots:
    """Slots for children: at most `at_once` are held, one by each person; the others wait. Thread-safe."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._running = Counter[str]()
        self._change = threading.Condition()

    @contextmanager
    def take(self, person: str, wait_s: float | None) -> Iterator[None]:
        """Hold a slot for the length of the `with`; raises Throttled when none is free within `wait_s` (None: wait
        on).
        """
        with self._change:
            if not self._change.wait_for(lambda: self._is_free(person), wait_s):
                why = f"{self._at_once} are read at once, one for each person."
                raise Throttled("Other files are being read.", why, "Try again in a moment.", retry_after=5)
            self._running[person] += 1
        try:
            yield
        finally:
            with self._change:
                self._running[person] -= 1
                self._running += Counter()  # without those at nought
                self._change.notify_all()

    def _is_free(self, person: str) -> bool:
        return self._running.total() < self._at_once and not self._running[person]
