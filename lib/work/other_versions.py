"""Runs that were queued, or left by a dead process, under another version of the program than this one's.

The engine gives a run only to processes of its version, whose numbers of steps it has. Where there are none any more,
the run would wait for ever. One that nobody has taken for half a minute of this process's time begins anew under this
version: its steps that acted, cost or held words have their results in `step_results` by name, and are not done again;
bookkeeping between them is. A run that was forked stays: its results stand under the run that it was forked from.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

if TYPE_CHECKING:
    from dbos._sys_db import SystemDatabase

LEFT_AFTER_S = 30.0
_INTERNAL_QUEUE = "_dbos_internal_queue"


class _Sighting(NamedTuple):
    state: tuple[str, str | None, str | None]  # of the row: status, version, executor
    at: float


class OtherVersions:
    """What one process has seen of runs of other versions, and takes over."""

    def __init__(
        self, database: "SystemDatabase", version: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._version = version
        self._monotonic = monotonic
        self._seen: dict[str, _Sighting] = {}
        self._status = database.tables.workflow_status
        status = self._status.c
        under_way = status.status.in_([sa.literal_column("'ENQUEUED'"), sa.literal_column("'PENDING'")])
        columns = (status.workflow_uuid, status.status, status.application_version, status.executor_id)
        self._query = sa.select(*columns).where(
            under_way, status.application_version.is_distinct_from(version), status.forked_from.is_(None)
        )

    def take(self, list_dead: Callable[[Sequence[str]], Sequence[str]], before: Callable[[], object]) -> list[str]:
        """Take what was left, and return the runs' ids; call it every few seconds. `before` is called where any was."""
        now = self._monotonic()
        with self._database.engine.connect() as connection:
            rows = connection.execute(self._query).all()
        earlier = self._seen
        self._seen = {}
        for row in rows:
            sighting = _Sighting((row.status, row.application_version, row.executor_id), now)
            known = earlier.get(row.workflow_uuid, sighting)
            self._seen[row.workflow_uuid] = known if known.state == sighting.state else sighting
        left = {run_id: each.state for run_id, each in self._seen.items() if now - each.at >= LEFT_AFTER_S}
        owners = {executor for status, _, executor in left.values() if status == "PENDING" and executor}
        dead = set(list_dead(sorted(owners))) if owners else set()
        taken = [run_id for run_id, (status, _, executor) in left.items() if status == "ENQUEUED" or executor in dead]
        if taken:
            before()
        return [run_id for run_id in taken if self._begin_anew(run_id, *left[run_id])]

    def _begin_anew(self, run_id: str, state: str, version: str | None, executor: str | None) -> bool:
        """Queue a run under this version without the steps it had; False where another process was quicker."""
        status = self._status.c
        steps = self._database.tables.operation_outputs
        is_same = sa.and_(
            status.workflow_uuid == run_id,
            status.status == state,
            status.application_version.is_not_distinct_from(version),
            status.executor_id.is_not_distinct_from(executor),
        )
        values = {
            "application_version": self._version,
            "status": "ENQUEUED",
            "owner_xid": None,
            "recovery_attempts": 0,
            "started_at_epoch_ms": None,
            "updated_at": int(time.time() * 1000),
            "queue_name": sa.func.coalesce(status.queue_name, _INTERNAL_QUEUE),
        }
        with self._database.engine.begin() as connection:
            if connection.execute(sa.update(self._status).where(is_same).values(**values)).rowcount == 0:
                return False
            connection.execute(sa.delete(steps).where(steps.c.workflow_uuid == run_id))
        return True
