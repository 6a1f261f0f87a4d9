"""One look for all queues: the loops of the engine ask several times a second, and mostly there is no work.

Each of the engine's workers reads its queue's settings, its partitions and its first runs in transactions of their own
at every poll. Here one query tells all of them which queues hold anything, and settings are read once a minute.
"""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from dbos._sys_db import SystemDatabase

_FRESH_S = 0.2  # less than any queue's poll
_SETTINGS_FRESH_S = 60.0


class QueueWatch:
    """Answers the engine's questions about queues of one process. Thread-safe."""

    def __init__(self, database: "SystemDatabase", monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._filled: frozenset[str] = frozenset()
        self._settings: dict[str, tuple[float, Any]] = {}
        status = database.tables.workflow_status.c
        # A literal, for only with one does SQLite use the index of what is under way.
        is_waiting = status.status == sa.literal_column("'ENQUEUED'")
        self._query = sa.select(status.queue_name).where(is_waiting).distinct()

    def install(self) -> None:
        """Answer from now on; call it once the queues are there."""
        database: Any = self._database
        get_queue, list_queues = database.get_queue, database.list_queues

        def read_queue(name: str, **options: Any) -> Any:
            return get_queue(name, **options) if options else self._remember(name, lambda: get_queue(name))

        def read_queues(**options: Any) -> Any:
            return self._remember("", lambda: list_queues(**options))

        database.get_queue = read_queue
        database.list_queues = read_queues
        database.dequeue_scopes = self.list_scopes

    def list_scopes(self, queue: str) -> list[None]:
        """List where a worker of this queue has to look: nowhere while no run waits in it."""
        with self._lock:
            if self._monotonic() - self._looked_at >= _FRESH_S:
                with self._database.engine.connect() as connection:
                    self._filled = frozenset(connection.scalars(self._query))
                self._looked_at = self._monotonic()
            return [None] if queue in self._filled else []

    def _remember(self, name: str, read: Callable[[], Any]) -> Any:
        now = self._monotonic()
        known = self._settings.get(name)
        if known is None or now - known[0] >= _SETTINGS_FRESH_S:
            known = self._settings[name] = (now, read())
        return known[1]
