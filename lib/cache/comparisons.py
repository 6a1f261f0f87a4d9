"""Comparing what is new with what was known, behind the storing of answers: in threads of its own, and bounded.

A judge may take seconds or hang. What is compared waits here, not what is stored; where too much waits, answers stay
uncompared: they are found by their own words, and the proof has a sample less.
"""

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress

log = logging.getLogger(__name__)
_WORKERS = 2
_MOST_WAITING = 1_000

Comparison = Callable[[], None]


class Comparisons:
    """Runs comparisons in the order they came; threads start with the first."""

    def __init__(self, most_waiting: int = _MOST_WAITING) -> None:
        self._waiting: queue.Queue[Comparison | None] = queue.Queue(most_waiting)
        self._threads: list[threading.Thread] = []
        self._stopped = threading.Event()

    def put(self, comparison: Comparison) -> bool:
        """Take a comparison to be made; False where too many wait, or after the end."""
        if self._stopped.is_set():
            return False
        try:
            self._waiting.put_nowait(comparison)
        except queue.Full:
            return False
        if len(self._threads) < _WORKERS:
            thread = threading.Thread(target=self._work, name="cache-compare", daemon=True)
            self._threads.append(thread)
            thread.start()
        return True

    def wait(self) -> None:
        """Return when everything taken so far has been compared."""
        self._waiting.join()

    def stop(self) -> None:
        """Begin nothing more; what runs is not waited for long."""
        self._stopped.set()
        with suppress(queue.Empty):
            while True:
                self._waiting.get_nowait()
                self._waiting.task_done()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join(1)

    def _work(self) -> None:
        while (comparison := self._waiting.get()) is not None:
            try:
                comparison()
            except Exception:  # the thread's boundary: the next one may go well
                log.exception("An answer could not be compared.")
            finally:
                self._waiting.task_done()
