"""What runs by itself, in threads that start and stop with the server.

Each job runs hourly in one process of all, one after the other; errands run in every process, every few seconds, and
see themselves to it that no two do the same. An errand has a thread of its own: one that waits for a slow receiver
holds up neither the others nor retention and sign-ins.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta

from lib.clock import make_id
from lib.db.engine import Store
from lib.jobs.lease import JobLease

log = logging.getLogger(__name__)
Job = Callable[[Callable[[], bool]], object]  # given `go_on`: False when it has to stop
Errand = Callable[[], object]
EVERY = timedelta(hours=1)


class Scheduler:
    """Runs each job when its lease is free; a job that fails is tried again when its lease has run out."""

    def __init__(
        self,
        store: Store,
        jobs: Mapping[str, Job],
        look_every_s: float = 60.0,
        errands: Mapping[str, Errand] | None = None,
        errands_every_s: float = 5.0,
    ) -> None:
        owner = make_id()
        self._errands = dict(errands or {})
        self._errands_every_s = errands_every_s
        self._jobs = [(JobLease(store, name, owner), name, job) for name, job in jobs.items()]
        self._look_every_s = look_every_s
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat_errand, args=(name, errand), name=f"errand-{name}", daemon=True)
            for name, errand in self._errands.items()
        ]
        if self._jobs:
            self._threads.append(threading.Thread(target=self._repeat_look, name="jobs", daemon=True))

    def start(self) -> None:
        """Start the threads; the first look comes after one pause, when the server has started."""
        for thread in self._threads:
            thread.start()

    def stop(self, wait_s: float = 5.0) -> None:
        """End after the batch that is under way, waiting at most `wait_s`."""
        self._stopped.set()
        until = time.monotonic() + wait_s
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(until - time.monotonic(), 0.0))

    def look(self) -> list[str]:
        """Run what is due; return the names of the jobs that were run to their end."""
        return [name for lease, name, job in self._jobs if not self._stopped.is_set() and self._run(lease, name, job)]

    def run_errands(self) -> None:
        """Run each errand once; one that fails is tried again the next time."""
        for name, errand in self._errands.items():
            _run_errand(name, errand)

    def _repeat_errand(self, name: str, errand: Errand) -> None:
        while not self._stopped.wait(self._errands_every_s):
            _run_errand(name, errand)

    def _repeat_look(self) -> None:
        while not self._stopped.wait(self._look_every_s):
            self.look()

    def _run(self, lease: JobLease, name: str, job: Job) -> bool:
        try:
            if not lease.take():
                return False
            job(lambda: not self._stopped.is_set() and lease.renew())
            if not self._stopped.is_set():
                lease.done(EVERY)
            return not self._stopped.is_set()
        except Exception as error:  # the boundary of a background job: the others must go on
            log.warning("The job %s failed and is tried again: %s", name, error)
            return False


def _run_errand(name: str, errand: Errand) -> None:
    try:
        errand()
    except Exception as error:  # the boundary of a background job: it is tried again
        log.warning("The errand %s failed and is tried again: %s", name, error)
