"""What is known of a budget at a moment: spent, held, forecast, state; and what it would say to a call."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from lib.budgets.budget import COLUMN, NEAR, Budget, BudgetScope, Period, Window, compute_window
from lib.budgets.forecast import PACE_DAYS, Forecast, Pace, forecast
from lib.budgets.notices import REFUSED
from lib.budgets.refusal import BudgetRefusal
from lib.budgets.subjects import load_labels
from lib.budgets.windows import build_live_condition, sum_charges
from lib.db.tables import budget_notices, budget_windows, budgets, usage_logs
from lib.money import format_spent

NEEDS_A_LOOK = ("over", "used up", "refusing", "near")
_B = budgets.c
_W = budget_windows.c


@dataclass(frozen=True)
class Spending:
    """A window of a budget. Money in nano-dollars; `unpriced_calls` are not, or not wholly, in what was spent."""

    window: Window
    limit_nano: int
    spent_nano: int
    held_nano: int
    unpriced_calls: int

    @property
    def spent_of_limit(self) -> str:
        """Say what is spent of the limit: `$5.00 of $10.00`, with `≥` where it is the least."""
        return format_spent(self.spent_nano, self.limit_nano, self.unpriced_calls)

    @property
    def percent(self) -> int:
        """Compute the share of the limit that is spent, in whole percent, rounded down; over 100 where it is passed."""
        return self.spent_nano * 100 // self.limit_nano


@dataclass(frozen=True)
class BudgetState:
    """A budget now. `has_refused`: it stopped a call in this window, at this limit or a higher one, and still could."""

    budget: Budget
    now: Spending
    has_refused: bool
    forecast: Forecast | None

    @property
    def state(self) -> str:
        """`over`, `used up`, `refusing`, `near`, `forecast over` or `on track`.

        `refusing`: a call did not fit into what is left, smaller ones may.
        """
        if self.now.percent >= 100:
            return "used up" if self.budget.is_hard else "over"
        if self.has_refused:
            return "refusing"
        if self.now.percent >= NEAR:
            return "near"
        if self.forecast is not None and self.forecast.low > self.now.limit_nano:
            return "forecast over"
        return "on track"


@dataclass(frozen=True)
class BudgetVerdict:
    """What one budget would say to a call; `refusal` is None when it would let it pass."""

    state: BudgetState
    refusal: BudgetRefusal | None


def read_states(connection: Connection, query: Select[Any], now: datetime) -> list[BudgetState]:
    """The budgets that a query of whole rows finds, as they stand now."""
    rows = connection.execute(query).all()
    if not rows:
        return []
    names = load_labels(connection, [(row.scope, row.subject) for row in rows])
    ids = [row.id for row in rows]
    windows = {
        (row.budget_id, row.starts_at): row
        for row in connection.execute(
            select(budget_windows)
            .join(budgets, (_B.id == _W.budget_id) & (_B.window_starts_at == _W.starts_at))
            .where(_W.budget_id.in_(ids))
        )
    }
    notice = budget_notices.c
    refused = select(notice.budget_id, notice.starts_at, notice.limit_nano_usd)
    refused = refused.where(notice.threshold == REFUSED, notice.budget_id.in_(ids))
    refused_at = {(row.budget_id, row.starts_at): row.limit_nano_usd for row in connection.execute(refused)}
    paces = _Paces(connection, now)
    states = []
    for row in rows:
        window = compute_window(row.period, max(now, row.window_starts_at))
        window_row = windows.get((row.id, window.start))
        spending = (
            build_spending(window_row) if window_row is not None else Spending(window, row.limit_nano_usd, 0, 0, 0)
        )
        budget = Budget(
            row.id,
            BudgetScope(row.scope),
            row.subject,
            Period(row.period),
            row.limit_nano_usd,
            row.is_hard,
            tuple(row.thresholds),
            row.block_unpriced,
            *names[row.scope, row.subject],
        )
        expected = forecast(window, spending.spent_nano, paces.of(row.scope, row.subject), now)
        limit_then = refused_at.get((row.id, window.start), 0)
        refuses = limit_then >= spending.limit_nano and (budget.is_hard or budget.block_unpriced)
        states.append(BudgetState(budget, spending, refuses, expected))
    return states


class _Paces:
    """What live calls of the last days cost by everything a budget can be about, read at once."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        log = usage_logs.c
        since = now - timedelta(days=PACE_DAYS)
        columns = [log[name] for name in COLUMN.values()]
        query = select(*columns, sum_charges().label("cost"), func.min(log.started_at).label("first"))
        self._rows = connection.execute(query.where(build_live_condition(since, now)).group_by(*columns)).all()
        first = min((row.first for row in self._rows), default=now)
        self._stretch = max(now - first, timedelta(days=1))

    def of(self, scope: str, subject: str) -> Pace | None:
        """The pace of a budget; None when there was no call at all in these days."""
        if not self._rows:
            return None
        column = COLUMN.get(BudgetScope(scope))
        cost = sum(int(row.cost) for row in self._rows if column is None or getattr(row, column) == subject)
        return Pace(cost, self._stretch)


def build_spending(row: Row[Any]) -> Spending:
    """A row of `budget_windows`."""
    return Spending(
        Window(row.starts_at, row.ends_at),
        row.limit_nano_usd,
        row.spent_nano_usd,
        row.held_nano_usd,
        row.unpriced_calls,
    )


def find_refusal(state: BudgetState, amount: int | None, now: datetime) -> BudgetRefusal | None:
    """Why a call that may cost `amount` (0 free, None nobody knows) would not pass, or None."""
    budget = state.budget
    spending = state.now
    if amount is None:
        has_room = spending.spent_nano + spending.held_nano < spending.limit_nano
        passes = not budget.block_unpriced and (not budget.is_hard or has_room)
    else:
        full = spending.spent_nano + spending.held_nano + amount > spending.limit_nano
        passes = amount == 0 or not budget.is_hard or not full
    if passes:
        return None
    window = spending.window
    return BudgetRefusal(
        budget.id,
        budget.scope,
        budget.label,
        budget.period,
        window.start,
        window.end,
        spending.limit_nano,
        spending.spent_nano,
        spending.held_nano,
        amount,
        now,
        is_blocked=budget.block_unpriced,
        unpriced_calls=spending.unpriced_calls,
    )
