"""Schedules of workflows: runs that begin by themselves, once for all processes, for the person who made them.

Every process that runs errands asks what is due; the one that moves a schedule's next moment on begins the run. While
its last run still goes the time is skipped, waits for it (the newest one of what was missed), or runs beside it.

A clock that is set back by more than three hours leaves moments behind that are too far away: they are computed anew,
at the first look of a process and whenever its clock has jumped. A smaller step repeats no moment.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, delete, insert, select, update

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import workflow_runs, workflow_schedules
from lib.errors import InvalidInput, LLMManagerError
from lib.workflows.acting import load_actor
from lib.workflows.run import Trigger
from lib.workflows.runs import WorkflowRuns
from lib.workflows.triggers import owned
from lib.workflows.triggers.moments import check_cron, find_next

log = logging.getLogger(__name__)
OVERLAPS = ("skip", "queue", "parallel")
_MOST = 50  # of a workflow, and of those begun at once
_S = workflow_schedules.c
_OVER = ("done", "failed", "cancelled")
_JUMP_S = 60.0
_SMALL_STEP = timedelta(hours=3)


@dataclass(frozen=True)
class WorkflowSchedule:
    """When a workflow runs by itself. `last_note` says why the last time began nothing."""

    id: str
    workflow_id: str
    name: str
    cron: str
    zone: str
    inputs: Mapping[str, Any]
    overlap: str
    is_active: bool
    user_id: str | None
    next_at: datetime | None
    last_run_id: str | None
    last_note: str


class WorkflowSchedules:
    """Makes, lists and begins what is scheduled."""

    def __init__(self, store: Store, runs: WorkflowRuns) -> None:
        self._store = store
        self._runs = runs
        self._clock_offset: float | None = None  # between the clock and monotonic time, in seconds

    def add(
        self,
        actor: Actor,
        slug: str,
        cron: str,
        zone: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        overlap: str = "skip",
    ) -> WorkflowSchedule:
        """Have a workflow run at the moments of a cron expression in a time zone; raises InvalidInput."""
        actor.require(Permission.MANAGE_WORKFLOWS)
        check_cron(cron, zone)
        if overlap not in OVERLAPS:
            raise InvalidInput(
                "The schedule can't be used.", f"overlap is one of {', '.join(OVERLAPS)}.", field="overlap"
            )
        with self._store.write() as connection:
            workflow = owned.load_to_change(connection, actor, slug)
            row = owned.make_row(connection, actor, workflow_schedules, workflow, name.strip() or cron, _MOST)
            row |= {
                "cron": cron,
                "zone": zone,
                "inputs": dict(inputs or {}),
                "overlap": overlap,
                "next_at": find_next(cron, zone, row["created_at"]),
                "last_run_id": None,
                "last_note": "",
            }
            connection.execute(insert(workflow_schedules), row)
            audit.record(connection, actor, "workflow.schedule", workflow.slug, cron=cron, zone=zone)
        return _build(row)

    def list(self, actor: Actor, slug: str) -> Sequence[WorkflowSchedule]:
        """List a workflow's schedules in the order in which they were made."""
        with self._store.read() as connection:
            workflow = owned.load_to_change(connection, actor, slug)
            return [_build(row) for row in owned.read_rows(connection, workflow_schedules, workflow.id)]

    def remove(self, actor: Actor, schedule_id: str) -> None:
        """Delete a schedule; runs that have begun go on."""
        with self._store.write() as connection:
            row, workflow = owned.find_row(connection, actor, workflow_schedules, schedule_id)
            connection.execute(delete(workflow_schedules).where(_S.id == schedule_id))
            audit.record(connection, actor, "workflow.unschedule", workflow.slug, cron=row["cron"])

    def begin_due(self) -> int:
        """Begin the runs of all schedules whose moment has come; how many schedules that were."""
        now = utc_now()
        offset = now.timestamp() - time.monotonic()
        if self._clock_offset is None or abs(offset - self._clock_offset) > _JUMP_S:
            self._compute_anew(now)
            self._clock_offset = offset
        with self._store.read() as connection:
            due = select(workflow_schedules).where(_S.is_active, _S.next_at <= now).order_by(_S.next_at).limit(_MOST)
            rows = connection.execute(due).mappings().all()
        for row in rows:
            if self._move_on(row, now):
                self._begin(row)
        return len(rows)

    def _compute_anew(self, now: datetime) -> None:
        """Bring back moments that a clock which was ahead has put too far away."""
        with self._store.read() as connection:
            far = select(workflow_schedules).where(_S.is_active, _S.next_at > now + _SMALL_STEP)
            rows = connection.execute(far).mappings().all()
        for row in rows:
            expected = find_next(row["cron"], row["zone"], now)
            following = None if expected is None else find_next(row["cron"], row["zone"], expected)
            if expected is None or following is None or row["next_at"] <= max(following, expected + _SMALL_STEP):
                continue
            log.warning("The clock was ahead: the schedule %s is due at %s again.", row["name"], expected)
            unchanged = update(workflow_schedules).where(_S.id == row["id"], _S.next_at == row["next_at"])
            with self._store.write() as connection:
                connection.execute(unchanged.values(next_at=expected))

    def _move_on(self, row: RowMapping, now: datetime) -> bool:
        """Set a schedule's next moment; False when another process did, or its last run is waited for."""
        goes = self._last_goes(row)
        if goes and row["overlap"] == "queue":
            return False  # looked at again when that one is over
        changed: dict[str, Any] = {"next_at": find_next(row["cron"], row["zone"], now)}
        if goes and row["overlap"] == "skip":
            changed["last_note"] = "The last run was still going."
        own_turn = update(workflow_schedules).where(_S.id == row["id"], _S.next_at == row["next_at"])
        with self._store.write() as connection:
            moved = connection.execute(own_turn.values(**changed)).rowcount == 1
        return moved and not (goes and row["overlap"] == "skip")

    def _last_goes(self, row: RowMapping) -> bool:
        if row["last_run_id"] is None:
            return False
        query = select(workflow_runs.c.state).where(workflow_runs.c.id == row["last_run_id"])
        with self._store.read() as connection:
            state = connection.scalar(query)
        return state is not None and state not in _OVER

    def _begin(self, row: RowMapping) -> None:
        values: dict[str, Any] = {"last_note": ""}
        try:
            actor = load_actor(self._store, row["user_id"], None, row["team_id"], "schedule")
            run = self._runs.start(actor, row["workflow_id"], row["inputs"], trigger=Trigger.SCHEDULE)
            values["last_run_id"] = run.id
        except LLMManagerError as error:
            log.warning("The schedule %s began no run: %s", row["name"], error)
            values["last_note"] = str(error)[:1_000]
        with self._store.write() as connection:
            connection.execute(update(workflow_schedules).where(_S.id == row["id"]).values(**values))


def _build(row: Mapping[Any, Any]) -> WorkflowSchedule:
    return WorkflowSchedule(**{name: row[name] for name in WorkflowSchedule.__dataclass_fields__})
