"""What a budget tells: a threshold was crossed, or a call was refused; each once a window, by a unique row.
A refusal is told again once the limit was raised: then it is another limit that stops calls.

Written in the transaction that caused it, together with the message for the webhook where there is one.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select
from sqlalchemy.dialects import postgresql, sqlite

from lib.budgets import outbox
from lib.budgets.budget import format_window
from lib.budgets.subjects import load_labels
from lib.db.tables import budget_notices, budgets
from lib.money import convert_nano_to_usd, format_spent

_KEY = ["budget_id", "starts_at", "threshold"]
REFUSED = 0  # in the place of a threshold: a call was refused


@dataclass(frozen=True)
class Notice:
    """`threshold` in percent; 0 (`REFUSED`): the first call that was refused. Money in nano-dollars, as it was then.

    What `unpriced_calls` cost is not, or not wholly, in what was spent.
    """

    budget_id: str
    label: str
    scope: str
    period: str
    starts_at: datetime
    threshold: int
    at: datetime
    spent_nano: int
    limit_nano: int
    unpriced_calls: int = 0

    @property
    def spent_of_limit(self) -> str:
        """Say what was spent of the limit: `$5.00 of $10.00`, with `≥` where it is the least."""
        return format_spent(self.spent_nano, self.limit_nano, self.unpriced_calls)


def note_crossed_thresholds(
    connection: Connection,
    budget_id: str,
    starts_at: datetime,
    spent_before: int,
    spent_after: int,
    limit: int,
    now: datetime,
    unpriced_calls: int,
) -> None:
    """Note every threshold between what was spent before (exclusive; -1: nothing was counted yet) and after."""
    if spent_before >= 0 and spent_before * 100 // limit == spent_after * 100 // limit:
        return
    budget = connection.execute(select(budgets).where(budgets.c.id == budget_id)).one_or_none()
    if budget is None:
        return
    for threshold in budget.thresholds:
        if spent_before * 100 < threshold * limit <= spent_after * 100:
            _note(connection, budget, starts_at, threshold, (spent_after, limit, unpriced_calls), now)


def note_refusal(
    connection: Connection, budget: Row[Any], spent: int, limit: int, now: datetime, unpriced_calls: int
) -> None:
    """Note that the budget's newest window has refused a call."""
    _note(connection, budget, budget.window_starts_at, REFUSED, (spent, limit, unpriced_calls), now)


def _note(
    connection: Connection,
    budget: Row[Any],
    starts_at: datetime,
    threshold: int,
    sums: tuple[int, int, int],
    now: datetime,
) -> None:
    """Write a notice and its message; `sums` are what was spent, the limit, and the unpriced calls."""
    spent, limit, unpriced_calls = sums
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    row = {"budget_id": budget.id, "starts_at": starts_at, "threshold": threshold, "at": now}
    row |= {"spent_nano_usd": spent, "limit_nano_usd": limit, "unpriced_calls": unpriced_calls}
    statement = insert(budget_notices).values(row)
    if threshold == REFUSED:  # at a limit that was raised since, a refusal is news again
        statement = statement.on_conflict_do_update(
            index_elements=_KEY,
            set_={
                name: statement.excluded[name] for name in ("at", "spent_nano_usd", "limit_nano_usd", "unpriced_calls")
            },
            where=budget_notices.c.limit_nano_usd < statement.excluded.limit_nano_usd,
        )
    else:
        statement = statement.on_conflict_do_nothing()
    if connection.execute(statement.returning(budget_notices.c.threshold)).one_or_none() is None:
        return
    label, _ = load_labels(connection, [(budget.scope, budget.subject)])[budget.scope, budget.subject]
    body = {
        "budget": {"id": budget.id, "scope": budget.scope, "label": label, "period": budget.period},
        "window": format_window(budget.period, starts_at),
        "window_starts_at": starts_at.isoformat(),
        "threshold_percent": threshold or None,
        "spent_usd": format(convert_nano_to_usd(spent), "f"),
        "limit_usd": format(convert_nano_to_usd(limit), "f"),
        "unpriced_calls": unpriced_calls,
        "spent_text": format_spent(spent, limit, unpriced_calls),
        "stops_calls": budget.is_hard,
        "at": now.isoformat(),
    }
    outbox.enqueue(connection, "budget.refused" if threshold == REFUSED else "budget.threshold", body, now)


def list_newest(connection: Connection, limit: int, condition: ColumnElement[bool]) -> list[Notice]:
    """The newest notices of the budgets that meet the condition, the newest first."""
    notice = budget_notices.c
    budget = budgets.c
    query = (
        select(budget_notices, budget.scope, budget.subject, budget.period)
        .join(budgets, budget.id == notice.budget_id)
        .where(condition)
        .order_by(notice.at.desc(), notice.threshold.desc())
        .limit(limit)
    )
    rows = connection.execute(query).all()
    names = load_labels(connection, [(row.scope, row.subject) for row in rows])
    return [
        Notice(
            row.budget_id,
            names[row.scope, row.subject][0],
            row.scope,
            row.period,
            row.starts_at,
            row.threshold,
            row.at,
            row.spent_nano_usd,
            row.limit_nano_usd,
            row.unpriced_calls,
        )
        for row in rows
    ]
