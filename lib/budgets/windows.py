"""The windows in SQL: finding those of a call, beginning new ones, and counting one from the ledger.

A budget knows its newest window, and a call falls into that one or a later one, never an earlier: a clock that steps
back opens nothing again. On SQLite the write transaction is the lock; on PostgreSQL it is the row of `ledger_clock`,
which everyone who ends calls takes anyway: one lock, so no order of locks to get wrong.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from lib.budgets.budget import COLUMN, BudgetScope, CallFacts, Window, compute_window
from lib.db.compiled_statements import CompiledStatement, execute, pipeline_statements
from lib.db.tables import budget_holds, budget_windows, budgets, ledger_clock, open_calls, usage_logs

Charge = tuple[str, datetime]  # what a cost goes to: a budget, and the start of its window
_MOST_KEPT = 1_000  # sets of subjects
_B = budgets.c
_W = budget_windows.c
_OF_SUBJECTS = CompiledStatement(
    select(
        *(_B[name] for name in ("id", "scope", "subject", "period", "is_hard", "block_unpriced", "window_starts_at")),
        _W.ends_at,
        _W.limit_nano_usd.label("window_limit"),
        _W.spent_nano_usd,
        _W.held_nano_usd,
    )
    .join(budget_windows, (_W.budget_id == _B.id) & (_W.starts_at == _B.window_starts_at))
    .where(tuple_(_B.scope, _B.subject).in_(bindparam("subjects", expanding=True)))
    .order_by(_B.id),
    pairs=("subjects",),
)

_LOCK = CompiledStatement(select(ledger_clock.c.id).where(ledger_clock.c.id == 1).with_for_update())


@dataclass
class OpenWindow:
    """A locked window while a batch of calls is decided. Money in nano-dollars."""

    budget: Any  # its row, with that of its window
    limit: int
    spent: int
    held: int
    reserved: int = 0  # by the batch that is being decided

    @property
    def starts_at(self) -> datetime:
        """Where the window begins; with the budget's id its key."""
        return self.budget.window_starts_at  # type: ignore[no-any-return]

    @property
    def charge(self) -> Charge:
        """Return the key of the window: the budget's id and the moment at which the window begins."""
        return self.budget.id, self.budget.window_starts_at

    def has_room(self, amount: int | None) -> bool:
        """Whether a call that may cost `amount` (None: nobody knows) fits."""
        if amount is None:
            remaining = self.limit - self.spent - self.held
            return not self.budget.block_unpriced and (not self.budget.is_hard or remaining > 0)
        return not self.budget.is_hard or self.spent + self.held + amount <= self.limit

    def amount_to_hold(self, amount: int | None, wished: int) -> int:
        """Compute the nano-dollars to hold for a call that fits.

        Where nobody knows what the call may cost (None), `wished` is held, or what is left if that is less.
        """
        return max(0, min(wished, self.limit - self.spent - self.held)) if amount is None else amount


def lock(connection: Connection) -> None:
    """Let no other transaction write windows or holds until this one ends."""
    if connection.dialect.name != "sqlite":
        _LOCK.run(connection, [{}])


class KnownWindows:
    """Windows that a transaction of SQLite's may know without reading: true until another connection commits."""

    def __init__(self, version: int) -> None:
        self.version = version
        self._windows: dict[str, OpenWindow] = {}
        self._of: dict[tuple[tuple[str, str], ...], list[OpenWindow]] = {}

    def get(self, subjects: tuple[tuple[str, str], ...], now: datetime) -> list[OpenWindow] | None:
        """Those about the subjects, if they are known and none has ended."""
        windows = self._of.get(subjects)
        if windows is None or any(window.budget.ends_at <= now for window in windows):
            return None
        return windows

    def put(self, subjects: tuple[tuple[str, str], ...], windows: list[OpenWindow]) -> list[OpenWindow]:
        """Keep what was read; a window is one object, whoever asks for it."""
        if len(self._of) >= _MOST_KEPT:
            self._of.clear()
        for window in windows:
            cached = self._windows.get(window.budget.id)
            if cached is None or cached.starts_at != window.starts_at:
                self._windows[window.budget.id] = window
        self._of[subjects] = [self._windows[window.budget.id] for window in windows]
        return self._of[subjects]

    def settled(self, budget_id: str, starts_at: datetime, amount: int, cost: int) -> None:
        """Turn a hold of `amount` into the spent `cost` (nano-dollars), if the window is among those remembered."""
        window = self._windows.get(budget_id)
        if window is not None and window.starts_at == starts_at:
            window.held -= amount
            window.spent += cost


class WindowMemory:
    """What a ledger's writer remembers of budgets from one of its transactions to the next; for one thread at a time.

    On SQLite the windows themselves, as `NonBlockingConnection` writes them: they are forgotten once another
    connection has committed. On PostgreSQL for which calls there were budgets, so that those are locked before they
    are read. `forget` it when a transaction has failed. Where a transaction has no memory everything is read.
    """

    def __init__(self) -> None:
        self.budgeted: set[tuple[tuple[str, str], ...]] = set()
        self._known: KnownWindows | None = None

    def forget(self) -> None:
        """Forget what a transaction may have left that was taken back."""
        self._known = None

    def find_known(self, connection: Connection) -> KnownWindows | None:
        """The windows that are known still, on SQLite; None elsewhere."""
        if connection.dialect.name != "sqlite":
            return None
        version = execute(connection, "PRAGMA data_version", ()).fetchone()[0]
        if self._known is None or self._known.version != version:
            self._known = KnownWindows(version)
        return self._known


def lock_windows(
    connection: Connection, subjects: Collection[tuple[str, str]], now: datetime, memory: WindowMemory | None
) -> list[OpenWindow]:
    """The current windows of every budget about one of the (scope, subject) pairs, locked, by budget id."""
    known_windows = None if memory is None else memory.find_known(connection)
    pairs = tuple(sorted(subjects))
    if known_windows is None:
        return _read(connection, pairs, now, memory)
    windows = known_windows.get(pairs, now)
    return known_windows.put(pairs, _read(connection, pairs, now, memory)) if windows is None else windows


def lock_applying_windows(
    connection: Connection, kinds: Collection[CallFacts], now: datetime, memory: WindowMemory | None = None
) -> dict[CallFacts, list[OpenWindow]]:
    """Find the current windows of all budgets that apply to calls, locked; a list for each of the `kinds` of calls."""
    pairs_of = {facts: facts.subjects for facts in kinds}
    by_subject: dict[tuple[str, str], list[OpenWindow]] = {}
    subjects = {pair for pairs in pairs_of.values() for pair in pairs}
    for window in lock_windows(connection, subjects, now, memory) if kinds else ():
        by_subject.setdefault((window.budget.scope, window.budget.subject), []).append(window)
    return {facts: [match for pair in pairs for match in by_subject.get(pair, ())] for facts, pairs in pairs_of.items()}


def _read(
    connection: Connection, subjects: tuple[tuple[str, str], ...], now: datetime, memory: WindowMemory | None
) -> list[OpenWindow]:
    parameters = {"subjects": subjects}
    if connection.dialect.name == "sqlite":
        rows = _OF_SUBJECTS.all(connection, parameters)
    else:
        rows = _read_locked(connection, parameters, set() if memory is None else memory.budgeted)
    if stale := [row for row in rows if compute_window(row.period, now).start > row.window_starts_at]:
        for row in stale:
            begin(connection, row.id, row.period, now)
        rows = _OF_SUBJECTS.all(connection, parameters)
    return [OpenWindow(row, row.window_limit, row.spent_nano_usd, row.held_nano_usd) for row in rows]


def _read_locked(connection: Connection, parameters: dict[str, Any], expected: set[Any]) -> list[Any]:
    """On PostgreSQL: look whether there are budgets at all, then lock, then read. Where some are expected, for there
    were some the last time, the lock comes first."""
    subjects = parameters["subjects"]
    if subjects not in expected and not _OF_SUBJECTS.all(connection, parameters):
        return []
    with pipeline_statements(connection):
        lock(connection)
        rows = _OF_SUBJECTS.all(connection, parameters)
    if len(expected) >= _MOST_KEPT or not rows:
        expected.clear()
    if rows:
        expected.add(subjects)
    return rows


def begin(connection: Connection, budget_id: str, period: str, now: datetime) -> datetime:
    """Make the window of `now` the newest, if it is newer; its start."""
    window = compute_window(period, now)
    newer = update(budgets).where(_B.id == budget_id, _B.window_starts_at < window.start)
    connection.execute(newer.values(window_starts_at=window.start))
    _insert(connection, budget_id, window)
    return window.start


def _insert(connection: Connection, budget_id: str, window: Window) -> None:
    insert_ = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    start = literal(window.start, _W.starts_at.type)
    end = literal(window.end, _W.ends_at.type)
    fresh = select(_B.id, start, end, _B.limit_nano_usd, literal(0), literal(0), literal(0)).where(_B.id == budget_id)
    connection.execute(insert_(budget_windows).from_select(list(_W.keys()), fresh).on_conflict_do_nothing())


def rewind(connection: Connection, budget_id: str, period: str, now: datetime) -> None:
    """Take away windows later than `now`, which a clock that ran ahead began; their holds move to that of now."""
    window = compute_window(period, now)
    connection.execute(delete(budget_windows).where(_W.budget_id == budget_id, _W.starts_at > window.start))
    late = update(budget_holds).where(budget_holds.c.budget_id == budget_id, budget_holds.c.starts_at > window.start)
    connection.execute(late.values(starts_at=window.start))
    connection.execute(
        update(budgets)
        .where(_B.id == budget_id, _B.window_starts_at > window.start)
        .values(window_starts_at=window.start)
    )
    _insert(connection, budget_id, window)


def recount(connection: Connection, budget_id: str, now: datetime) -> Row[Any]:
    """Count the window of `now` (or the newest, if that is later) from the ledger and the holds under way; its row."""
    budget = connection.execute(select(budgets).where(_B.id == budget_id)).one()
    window = compute_window(budget.period, max(now, budget.window_starts_at))
    begin(connection, budget_id, budget.period, window.start)
    this_window = (_W.budget_id == budget_id, _W.starts_at == window.start)
    hold = budget_holds.c
    of_window = select(func.coalesce(func.sum(hold.amount_nano_usd), 0))
    held = connection.scalar(of_window.where(hold.budget_id == budget_id, hold.starts_at == window.start))
    log = usage_logs.c
    spent = connection.execute(
        select(
            sum_charges(),
            func.coalesce(
                func.sum(case((log.cost_nano_usd.is_(None) | (log.cost_status == "partial"), 1), else_=0)), 0
            ),
        ).where(*build_subject_condition(budget.scope, budget.subject), build_live_condition(window.start, window.end))
    ).one()
    counted = {"spent_nano_usd": int(spent[0]), "unpriced_calls": int(spent[1]), "held_nano_usd": int(held or 0)}
    return connection.execute(
        update(budget_windows).where(*this_window).values(**counted).returning(budget_windows)
    ).one()


def adopt(connection: Connection, budget_id: str, scope: str, subject: str, expires_at: datetime) -> None:
    """Give a new budget empty holds on the calls under way, so that what they cost will count."""
    budget = connection.execute(select(budgets).where(_B.id == budget_id)).one()
    calls = connection.scalars(
        select(open_calls.c.id).where(*build_subject_condition(scope, subject, open_calls))
    ).all()
    rows = [
        {
            "log_id": log_id,
            "budget_id": budget_id,
            "starts_at": budget.window_starts_at,
            "amount_nano_usd": 0,
            "expires_at": expires_at,
        }
        for log_id in calls
    ]
    if rows:
        connection.execute(insert(budget_holds), rows)


def build_subject_condition(scope: str, subject: str, table: Any = usage_logs) -> Iterable[ColumnElement[bool]]:
    """The condition that a row of the ledger falls under a budget."""
    if scope == BudgetScope.GLOBAL:
        return ()
    column = table.c[COLUMN[BudgetScope(scope)]]
    return (column == (int(subject) if scope == BudgetScope.TEAM else subject),)


def compute_charge(cost_nano: int | None) -> int:
    """Return what a call's cost takes from a budget, in nano-dollars: 0 where it is unknown (None) or negative."""
    return max(0, cost_nano or 0)


def sum_charges() -> ColumnElement[int]:
    """`compute_charge` of the ledger's rows, added up."""
    cost = usage_logs.c.cost_nano_usd
    return func.coalesce(func.sum(case((cost > 0, cost), else_=0)), 0)


def build_live_condition(start: datetime, end: datetime) -> ColumnElement[bool]:
    """The condition that an attempt began in a window and was a call of ours: no sample, no import."""
    log = usage_logs.c
    return (log.started_at >= start) & (log.started_at < end) & log.batch_id.is_(None)
