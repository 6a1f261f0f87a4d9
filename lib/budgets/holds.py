"""Money held for calls before they are sent, and settled when they end: `reserve`, `settle`, `release`, `sweep`.

They work inside the caller's write transaction (`Store.write()`), which also writes the call's own row; many calls
share one. The windows that apply are locked, all calls of the batch are decided against them one by one, and each
window is written once: a call that was let through is held on every budget that applies, a refused one on none, and
spent + held never passes a hard limit. A hold settles in the window that took it, once, whoever tries again.

A free call (amount 0) is never stopped and takes no hold. A call whose model has no price (amount None) is let through
until a hard budget is used up, unless a budget blocks such calls; it holds what is wished for it as far as there is
room, and a cost that becomes known at its end counts.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, select, update

from lib.budgets import notices
from lib.budgets.budget import CallFacts
from lib.budgets.refusal import BudgetRefusal
from lib.budgets.subjects import load_labels
from lib.budgets.windows import Charge, OpenWindow, WindowMemory, compute_charge, lock, lock_applying_windows
from lib.db.bulk import insert_rows
from lib.db.compiled_statements import CompiledStatement, pipeline_statements
from lib.db.tables import budget_holds, budget_windows, open_calls, processes, usage_logs

HOLD_LASTS = timedelta(hours=1)  # then the sweep asks the ledger what became of the call
_MOST_IDS = 500  # in one statement
_H = budget_holds.c
_W = budget_windows.c
_WINDOW = (_W.budget_id == bindparam("of_budget"), _W.starts_at == bindparam("of_start"))
_HOLD = CompiledStatement(
    update(budget_windows).where(*_WINDOW).values(held_nano_usd=_W.held_nano_usd + bindparam("amount"))
)
_SETTLE = CompiledStatement(
    update(budget_windows)
    .where(*_WINDOW)
    .values(
        held_nano_usd=_W.held_nano_usd - bindparam("amount"),
        spent_nano_usd=_W.spent_nano_usd + bindparam("cost"),
        unpriced_calls=_W.unpriced_calls + bindparam("unpriced"),
    )
    .returning(_W.spent_nano_usd, _W.limit_nano_usd, _W.unpriced_calls)
)
_CLAIM = CompiledStatement(
    delete(budget_holds)
    .where(_H.log_id.in_(bindparam("log_ids", expanding=True)))
    .returning(_H.log_id, _H.budget_id, _H.starts_at, _H.amount_nano_usd)
)


class Want(Struct, frozen=True):
    """A call that is about to be sent. `amount_nano`: the most it can cost; 0 free, None nobody knows.

    `wished_nano`: what to hold when nobody knows, less where less is left.
    """

    log_id: str
    facts: CallFacts
    amount_nano: int | None
    wished_nano: int = 0


class Charged(Struct, frozen=True):
    """A call that a lease was to pay for: the windows its cost goes to, and what decides which there are more."""

    facts: CallFacts
    charges: tuple[Charge, ...]


Held = tuple[str, ...]  # the hard budgets that hold something for a call: it may not cost more than that


def reserve(
    connection: Connection, facts: CallFacts, log_id: str, amount_nano: int | None, now: datetime
) -> BudgetRefusal | Held:
    """Hold `amount_nano` on every budget that applies, or on none and say why. `now`: when the call starts."""
    return reserve_many(connection, [Want(log_id, facts, amount_nano)], now)[0]


def reserve_many(
    connection: Connection, wants: Sequence[Want], now: datetime, memory: WindowMemory | None = None
) -> list[BudgetRefusal | Held]:
    """`reserve` for calls that open together; answers in the same order."""
    windows_of = lock_applying_windows(connection, {want.facts for want in wants if want.amount_nano != 0}, now, memory)
    windows = {window.charge: window for applicable in windows_of.values() for window in applicable}
    if not windows:
        return [() for _ in wants]
    for window in windows.values():
        window.reserved = 0
    answers: list[BudgetRefusal | Held] = []
    rows: list[dict[str, Any]] = []
    for want in wants:
        meets = windows_of[want.facts] if want.amount_nano != 0 else []
        full = next((window for window in meets if not window.has_room(want.amount_nano)), None)
        if full is not None:
            answers.append(_note_refusal(connection, full, want.amount_nano, now))
            continue
        for window in meets:
            amount = window.amount_to_hold(want.amount_nano, want.wished_nano)
            window.held += amount
            window.reserved += amount
            rows.append(_hold(want.log_id, window, amount, now))
        answers.append(tuple(window.budget.id for window in meets if window.budget.is_hard))
    additions = [
        {"of_budget": window.budget.id, "of_start": window.starts_at, "amount": window.reserved}
        for _, window in sorted(windows.items())
        if window.reserved
    ]
    if rows:
        with pipeline_statements(connection):
            insert_rows(connection, budget_holds, rows)
            if additions:
                _HOLD.run(connection, additions)
    return answers


def settle(connection: Connection, log_id: str, cost_nano: int | None, now: datetime) -> None:
    """The call has ended: replace its holds by what it cost (None: nobody knows)."""
    settle_many(connection, {log_id: cost_nano}, now)


def release(connection: Connection, log_id: str, now: datetime) -> None:
    """The call was never sent: give back what was held for it."""
    settle_many(connection, {log_id: 0}, now)


def settle_many(
    connection: Connection,
    costs: Mapping[str, int | None],
    now: datetime,
    charged: Mapping[str, Charged] | None = None,
    never_held: Collection[str] = (),
    *,
    just_held: bool = False,
    partly_priced: Collection[str] = (),
    memory: WindowMemory | None = None,
) -> int:
    """`settle` for calls that end together; how many holds there were. Calls without a hold are passed over.

    `charged`: those that a lease was to pay for (`lib.budgets.leases`), by log id; `never_held`: ids without holds.
    `partly_priced`: ids whose cost is only known in part.
    `just_held`: whatever is held was held in this transaction, which has the lock then.
    """
    sums: dict[Charge, list[int]] = {}
    settled = 0
    log_ids = [log_id for log_id in costs if log_id not in never_held]
    held_for: dict[str, set[str]] = {}
    if not just_held and (log_ids or charged):
        lock(connection)
    for first in range(0, len(log_ids), _MOST_IDS):
        for hold in _CLAIM.all(connection, {"log_ids": log_ids[first : first + _MOST_IDS]}):
            cost = costs[hold.log_id]
            total = sums.setdefault((hold.budget_id, hold.starts_at), [0, 0, 0])
            total[0] += hold.amount_nano_usd
            total[1] += compute_charge(cost)
            total[2] += cost is None or hold.log_id in partly_priced
            settled += 1
            if charged:
                held_for.setdefault(hold.log_id, set()).add(hold.budget_id)
    if charged:
        windows_of = lock_applying_windows(connection, {call.facts for call in charged.values()}, now, memory)
        _charge(windows_of, costs, charged, held_for, sums, partly_priced)
    known_windows = memory.find_known(connection) if sums and memory is not None else None
    for (budget_id, starts_at), (amount, cost, unpriced) in sorted(sums.items()):
        if known_windows is not None:
            known_windows.settled(budget_id, starts_at, amount, cost)
        values = {"of_budget": budget_id, "of_start": starts_at, "amount": amount, "cost": cost, "unpriced": unpriced}
        for window in _SETTLE.all(connection, values):
            if not cost:
                continue
            after = window.spent_nano_usd
            figures = (after - cost, after, window.limit_nano_usd)
            notices.note_crossed_thresholds(connection, budget_id, starts_at, *figures, now, window.unpriced_calls)
    return settled


def _charge(
    windows_of: Mapping[CallFacts, Sequence[OpenWindow]],
    costs: Mapping[str, int | None],
    charged: Mapping[str, Charged],
    held_for: Mapping[str, set[str]],
    sums: dict[Charge, list[int]],
    partly_priced: Collection[str],
) -> None:
    """Add what calls cost that hold nothing by themselves to the windows it belongs to."""
    for log_id, call in charged.items():
        cost = costs[log_id]
        has = held_for.get(log_id, ())
        for charge in add_new_windows(call.charges, windows_of[call.facts]):
            if charge[0] not in has:
                total = sums.setdefault(charge, [0, 0, 0])
                total[1] += compute_charge(cost)
                total[2] += cost is None or log_id in partly_priced


def add_new_windows(charges: Sequence[Charge], windows: Iterable[OpenWindow]) -> list[Charge]:
    """Add to a call's charges the windows of budgets that began to apply after the call was let through."""
    charged_ids = {budget_id for budget_id, _ in charges}
    return [*charges, *(window.charge for window in windows if window.budget.id not in charged_ids)]


def add_held(connection: Connection, sums: Mapping[Charge, int], memory: WindowMemory | None = None) -> None:
    """Change what windows hold, by the rows of `budget_holds` that the caller writes."""
    changes = {charge: amount for charge, amount in sorted(sums.items()) if amount}
    if not changes:
        return
    _HOLD.run(connection, [{"of_budget": b, "of_start": start, "amount": n} for (b, start), n in changes.items()])
    if memory is not None and (known_windows := memory.find_known(connection)) is not None:
        for (budget_id, starts_at), amount in changes.items():
            known_windows.settled(budget_id, starts_at, -amount, 0)


def sweep(connection: Connection, now: datetime) -> int:
    """Look after holds that lasted too long; how many were ended.

    The ledger knows what became of the call: ended, then it is settled by its cost; still under way, then the hold
    goes on; neither, then it was never sent and the money is given back. A process's lease goes on as long as the
    process is known: who finds it dead gives it back (`lib.ledger.recovery`).
    """
    lock(connection)
    expired = select(_H.log_id).where(_H.expires_at < now).distinct()
    logs = usage_logs.c
    ended = connection.execute(select(logs.id, logs.cost_nano_usd, logs.cost_status).where(logs.id.in_(expired))).all()
    costs: dict[str, int | None] = {row.id: row.cost_nano_usd for row in ended}
    partly_priced = {row.id for row in ended if row.cost_status == "partial"}
    running = {
        running_id
        for table in (open_calls, processes)
        for running_id in connection.scalars(select(table.c.id).where(table.c.id.in_(expired)))
    }
    for log_id in connection.scalars(expired):
        if log_id not in running:
            costs.setdefault(log_id, 0)
    for batch in _split_batches(running - set(costs)):
        connection.execute(update(budget_holds).where(_H.log_id.in_(batch)).values(expires_at=now + HOLD_LASTS))
    return settle_many(connection, costs, now, partly_priced=partly_priced) if costs else 0


def _split_batches(ids: Iterable[str]) -> Iterable[list[str]]:
    listed = sorted(ids)
    return (listed[first : first + _MOST_IDS] for first in range(0, len(listed), _MOST_IDS))


def _hold(log_id: str, window: OpenWindow, amount: int, now: datetime) -> dict[str, Any]:
    return {
        "log_id": log_id,
        "budget_id": window.budget.id,
        "starts_at": window.starts_at,
        "amount_nano_usd": amount,
        "expires_at": now + HOLD_LASTS,
    }


def _note_refusal(connection: Connection, window: OpenWindow, amount: int | None, now: datetime) -> BudgetRefusal:
    budget = window.budget
    query = select(_W.unpriced_calls).where(_W.budget_id == budget.id, _W.starts_at == window.starts_at)
    unpriced_calls = connection.scalar(query) or 0
    notices.note_refusal(connection, budget, window.spent, window.limit, now, unpriced_calls)
    label, _ = load_labels(connection, [(budget.scope, budget.subject)])[budget.scope, budget.subject]
    return BudgetRefusal(
        budget.id,
        budget.scope,
        label,
        budget.period,
        window.starts_at,
        budget.ends_at,
        window.limit,
        window.spent,
        window.held,
        amount,
        now,
        is_blocked=bool(budget.block_unpriced),
        unpriced_calls=unpriced_calls,
    )
