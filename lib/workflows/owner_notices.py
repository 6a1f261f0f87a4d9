"""What the installation's webhook is told of runs that nobody watches: failed, held by its cap, stuck; each once.

A run is stuck when it waits for a person or a signal without a deadline for a day, when nobody has taken it up an hour
after its deadline, or when it has waited an hour for a process to begin it. What was told stands as an action of the
run, by the number of its executions: one that goes on and gets stuck again is told again.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, String, cast, delete, exists, literal, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from lib.budgets import outbox
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import users, workflow_actions, workflows
from lib.workflows.journal import A, R, S
from lib.workflows.run import RunState, Trigger

UNATTENDED = (Trigger.SCHEDULE, Trigger.WEBHOOK)
STUCK_AFTER = timedelta(hours=24)  # waiting for a person or a signal that has no deadline
OVERDUE_AFTER = timedelta(hours=1)  # after its deadline, or since it was queued
_MOST = 200


def tell_owner(
    connection: Connection, event: str, run_id: str, user_id: str | None, workflow_id: str, reason: str, step: str
) -> bool:
    """Write a message about a run for the webhook, with the address at which it can be looked at and run again.

    False where no webhook is set.
    """
    body = {
        "run_id": run_id,
        "workflow": connection.scalar(select(workflows.c.slug).where(workflows.c.id == workflow_id)) or "",
        "owner": connection.scalar(select(users.c.name).where(users.c.id == user_id)),
        "step": step,
        "reason": reason[:500],
        "address": f"/workflows?run={run_id}",
    }
    return outbox.enqueue(connection, event, body, utc_now()) is not None


class StuckRuns:
    """Finds runs that are stuck, and tells of each once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def tell(self) -> int:
        """Tell of all that are stuck and were not told of; how many those were."""
        now = utc_now()
        with self._store.read() as connection:
            rows = connection.execute(_select_stuck(now).limit(_MOST)).mappings().all()
        return sum(self._tell(row, now) for row in rows)

    def _tell(self, row: Mapping[Any, Any], now: datetime) -> bool:
        key = f"stuck:{row['executions']}"
        marker = {"run_id": row["id"], "key": key, "attempt": 1, "state": "done", "input_hash": "", "call_id": None}
        marker |= {"result": None, "started_at": now, "finished_at": now}
        dialect = sqlite if self._store.is_sqlite else postgresql
        statement = dialect.insert(workflow_actions).values(**marker).on_conflict_do_nothing().returning(A.key)
        with self._store.write() as connection:
            if connection.scalar(statement) is None:
                return False  # another process was quicker
            waiting = select(S.path).where(S.run_id == row["id"], S.state == "waiting").order_by(S.started_at).limit(1)
            step = connection.scalar(waiting) or ""
            reason = row["reason"] or "No process has begun it."
            run = (row["id"], row["user_id"], row["workflow_id"])
            if tell_owner(connection, "workflow.stuck", *run, reason, step):
                return True
            connection.execute(delete(workflow_actions).where(A.run_id == row["id"], A.key == key))
            return False  # nobody listens: it is told when somebody does


def _select_stuck(now: datetime) -> Any:
    has_waited = exists().where(S.run_id == R.id, S.state == "waiting", S.started_at < now - STUCK_AFTER)
    is_stuck = or_(
        (R.state == RunState.WAITING) & R.wake_at.is_(None) & has_waited,
        (R.state == RunState.WAITING) & (R.wake_at < now - OVERDUE_AFTER),
        (R.state == RunState.QUEUED) & (R.executions == 0) & (R.created_at < now - OVERDUE_AFTER),
    )
    columns = (R.id, R.user_id, R.workflow_id, R.reason, R.executions)
    was_told = exists().where(A.run_id == R.id, A.key == literal("stuck:") + cast(R.executions, String))
    return select(*columns).where(R.trigger.in_(UNATTENDED), is_stuck).where(~was_told)
