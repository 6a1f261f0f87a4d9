"""Whether calls can be logged: a sign of life written into the database, a page into the spool, no end that waits."""

import math
import os
import threading
import time
from pathlib import Path

from lib.db.engine import Store
from lib.errors import InstallationError
from lib.ledger import recovery
from lib.ledger.spool import Spool
from lib.ledger.writer import Ledger

GOOD_FOR_S = 1.0  # whoever asks, and however often: one write a second


class Readiness:
    """Of one process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._checked_at = -math.inf

    def check(self, store: Store, owner: str, spool: Spool | None, ledger: Ledger | None) -> None:
        """LLMManagerError tells what can't be written; nothing before the first call."""
        if spool is None or ledger is None:
            return
        with self._lock:
            if time.monotonic() - self._checked_at < GOOD_FOR_S:
                return
            recovery.renew_lease_of_life(store, owner, os.getpid())
            try:
                spool.probe()
            except OSError as error:
                raise make_spool_error(spool.folder.parent, error) from error
            if (trouble := ledger.trouble) is not None:
                raise InstallationError(trouble)
            self._checked_at = time.monotonic()


def make_spool_error(root: Path, error: OSError) -> InstallationError:
    """The error for a spool that the disk refuses."""
    why = f"{root} refused: {error.strerror}."
    return InstallationError("The data folder can't be written.", why, "Correct its permissions, or free some space.")
