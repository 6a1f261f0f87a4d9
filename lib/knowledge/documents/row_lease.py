"""Renews a hold on a row while a step goes on that may last longer than the hold."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

log = logging.getLogger(__name__)
HELD = timedelta(seconds=60)


@contextmanager
def keep_renewed(renew: Callable[[], object], every_s: float = HELD.total_seconds() / 3) -> Iterator[None]:
    """Call `renew` every so often in a thread until the block ends; what it raises is logged."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(every_s):
            try:
                renew()
            except Exception as error:  # the database may be away for a moment; the hold lasts for two more tries
                log.warning("A hold could not be renewed: %s", error)

    thread = threading.Thread(target=go_on, name="hold", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
