"""Money held ahead, so that a stream of alike calls opens without a transaction for each.

Calls are alike when the same budgets apply to them (`CallFacts`). Once a process opens many of them, the transaction
that writes some also holds an amount for those to come: a lease, one row of `budget_holds` for each hard budget, under
the process's id. For a tenth of a second then, calls of the kind take their amounts from the leases in memory; one that
finds too little, or comes later, asks the database like any other.

A lease is a hold like all others, so spent + held never passes a hard limit. It is at most an eighth of what its window
has left, so near a limit every call is decided by itself; and before one is refused, what is leased here is given back.
`Leases` belongs to the loop of the calls; `renew` runs inside the ledger's transaction, on PostgreSQL in a thread. It
writes what a lease is, not what changed: a transaction that is tried again, or a lease that the sweep took, do no harm.
Why it is built so: docs/decisions/budgets.md.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, select, update

from lib.budgets.budget import CallFacts
from lib.budgets.holds import HOLD_LASTS, add_held, add_new_windows
from lib.budgets.windows import Charge, WindowMemory, lock, lock_applying_windows
from lib.clock import utc_now
from lib.db.bulk import insert_rows
from lib.db.compiled_statements import CompiledStatement
from lib.db.tables import budget_holds

LASTS_S = 0.1  # a grant; and how long the calls are counted that ask for one
_MANY = 16  # calls of a kind in that time: from there on they are leased for
_CALLS_AHEAD = 128  # how many a lease is for; a smaller one than the least is none
_LEAST_CALLS = 4
_SHARE = 8  # of what is left in a window, one part
_NEVER = datetime.max.replace(tzinfo=UTC)
_H = budget_holds.c
_LEASED = CompiledStatement(
    select(_H.budget_id, _H.starts_at, _H.amount_nano_usd, _H.expires_at).where(_H.log_id == bindparam("of"))
)
_OURS = (_H.log_id == bindparam("of"), _H.budget_id == bindparam("of_budget"))
_CHANGE = CompiledStatement(
    update(budget_holds)
    .where(*_OURS)
    .values(starts_at=bindparam("start"), amount_nano_usd=bindparam("amount"), expires_at=bindparam("until"))
)
_END = CompiledStatement(delete(budget_holds).where(*_OURS))


class Lease:
    """Money in nano-dollars: `free` for calls to come, `taken` by calls whose rows are not in the database."""

    __slots__ = ("charge", "ends_at", "free", "taken")

    def __init__(self, charge: Charge, ends_at: datetime) -> None:
        self.charge = charge
        self.ends_at = ends_at
        self.free = self.taken = 0


class Taken(Struct, frozen=True):
    """What a call took, and the windows that its cost goes to; a free call has none of either."""

    facts: CallFacts
    amount: int = 0
    leases: tuple[Lease, ...] = ()
    charges: tuple[Charge, ...] | None = None


class Granted(Struct, frozen=True):
    """Calls of a kind may open: the hard budgets' windows, and all that their cost goes to."""

    hard: tuple[Charge, ...]
    charges: tuple[Charge, ...]
    blocks_unpriced: bool
    ends_at: datetime


class Wanted(Struct, frozen=True):
    """What the next transaction shall hold. `leases`: window → all that is leased there, and what of it is free."""

    owner: str
    kinds: dict[CallFacts, int]  # → the most a call of the kind has asked for
    leases: dict[Charge, tuple[int, int]]
    asked_at: float


class Renewed(Struct, frozen=True):
    """What a transaction has held, once it is committed."""

    granted: dict[CallFacts, Granted]
    gained: dict[Charge, int]
    ends: dict[Charge, datetime]  # of the windows in which something is held


class _Demand:
    """Calls of a kind since a moment and in the span before it, and the most that one of them asked for."""

    __slots__ = ("before", "calls", "largest", "largest_before", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.calls = self.before = self.largest = self.largest_before = 0


class _Grant(Struct, frozen=True):
    leases: tuple[Lease, ...]
    charges: tuple[Charge, ...]
    blocks_unpriced: bool
    until: float


class Leases:
    """This process's, in its calls' loop."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._demand: dict[CallFacts, _Demand] = {}
        self._grants: dict[CallFacts, _Grant] = {}
        self._leases: dict[Charge, Lease] = {}
        self._may_be_held = False  # something in the database

    @property
    def is_there(self) -> bool:
        """Whether something is held ahead, or may be."""
        return bool(self._grants) or self._may_be_held

    def take(self, facts: CallFacts, amount: int | None, wished: int = 0) -> Taken | None:
        """Take the money that a call needs from the leases in memory; None where the database must be asked instead.

        `amount` is the most that the call may cost, in nano-dollars: 0 is a free call; where it is None, nobody knows
        the cost and the call takes `wished`.
        """
        if amount == 0:  # nothing is held for it, so nobody has to be asked
            return Taken(facts)
        now = time.monotonic()
        demand = self._demand.get(facts)
        if demand is None:
            demand = self._demand[facts] = _Demand(now)
        demand.calls += 1
        needed = wished if amount is None else amount
        if needed > demand.largest:
            demand.largest = needed
        grant = self._grants.get(facts)
        if grant is None or now >= grant.until:
            return None
        if amount is None and grant.blocks_unpriced:
            return None
        if any(lease.free < max(needed, 1) for lease in grant.leases):
            return None
        for lease in grant.leases:
            lease.free -= needed
            lease.taken += needed
        return Taken(facts, needed, grant.leases, grant.charges)

    def undo(self, draw: Taken) -> None:
        """The call was not opened with it."""
        for lease in draw.leases:
            lease.free += draw.amount
            lease.taken -= draw.amount

    def kinds(self) -> dict[CallFacts, int]:
        """The kinds of call of which there are many now, with the most that one has asked for."""
        now = time.monotonic()
        for facts, demand in list(self._demand.items()):
            if (age := now - demand.since) >= LASTS_S:
                demand.before = demand.calls if age < 2 * LASTS_S else 0
                demand.since = now
                demand.calls = 0
                demand.largest_before = demand.largest
                demand.largest = 0
                if not demand.before:
                    del self._demand[facts]
        return {
            facts: max(demand.largest, demand.largest_before)
            for facts, demand in self._demand.items()
            if max(demand.calls, demand.before) >= _MANY
        }

    def keep(self, kinds: Collection[CallFacts]) -> bool:
        """Let go of what other kinds of calls had, and of ended windows; whether there was something."""
        now = utc_now()
        used = set[Charge]()
        for facts, grant in list(self._grants.items()):
            if facts in kinds and all(lease.ends_at > now for lease in grant.leases):
                used.update(lease.charge for lease in grant.leases)
            else:
                del self._grants[facts]
        gone = [lease for charge, lease in self._leases.items() if charge not in used]
        for lease in gone:
            lease.free = 0
        return bool(gone)

    def wanted(self, kinds: dict[CallFacts, int], recorded: Iterable[Taken]) -> Wanted | None:
        """For `renew`; `recorded` is what calls had taken whose rows the same transaction writes."""
        if not kinds and not self.is_there:
            return None
        leases = {charge: [lease.free + lease.taken, lease.free] for charge, lease in self._leases.items()}
        for draw in recorded:
            for lease in draw.leases if draw.amount else ():
                leases[lease.charge][0] -= draw.amount
        self._may_be_held = True
        return Wanted(
            self._owner, kinds, {charge: (all_, free) for charge, (all_, free) in leases.items()}, time.monotonic()
        )

    def written(self, draw: Taken) -> None:
        """The call's row is in the database, with its holds or its cost."""
        for lease in draw.leases:
            lease.taken -= draw.amount

    def renewed(self, request: Wanted, renewal: Renewed) -> None:
        """The transaction is committed: use what it held."""
        now = utc_now()
        for charge, ends_at in renewal.ends.items():
            lease = self._leases.setdefault(charge, Lease(charge, ends_at))
            lease.free += renewal.gained.get(charge, 0)
        for charge, lease in list(self._leases.items()):
            if charge not in renewal.ends and not lease.free and not lease.taken:
                del self._leases[charge]
        self._grants = {
            facts: _Grant(
                tuple(self._leases[charge] for charge in grant.hard),
                grant.charges,
                grant.blocks_unpriced,
                request.asked_at + min(LASTS_S, (grant.ends_at - now).total_seconds()),
            )
            for facts, grant in renewal.granted.items()
        }
        self._may_be_held = bool(self._leases)


def renew(connection: Connection, request: Wanted, now: datetime, memory: WindowMemory | None = None) -> Renewed:
    """Hold what is wanted, as far as there is room, instead of what was held ahead until now."""
    lock(connection)
    windows_of = lock_applying_windows(connection, request.kinds, now, memory)
    hard_windows = {w.charge: w for windows in windows_of.values() for w in windows if w.budget.is_hard}
    leased = {row.budget_id: row for row in _LEASED.all(connection, {"of": request.owner})}
    needs = dict.fromkeys(hard_windows, 0)
    for facts, windows in windows_of.items():
        for window in windows:
            if window.budget.is_hard:
                needs[window.charge] += request.kinds[facts] * _CALLS_AHEAD
    elsewhere = {charge[0] for charge, (all_, _) in request.leases.items() if all_ and charge not in hard_windows}
    rooms = dict[Charge, int]()
    free = dict[Charge, int]()
    gains = dict[Charge, int]()
    for charge, window in hard_windows.items():
        all_, free_amount = request.leases.get(charge, (0, 0))
        row = leased.get(charge[0])
        ours = row.amount_nano_usd if row is not None and row.starts_at == charge[1] else 0
        rooms[charge] = room = window.limit - window.spent - (window.held - ours) - all_
        wished = min(needs[charge], (room + free_amount) // _SHARE)
        gains[charge] = 0 if charge[0] in elsewhere else max(0, wished - free_amount)
        free[charge] = free_amount + gains[charge]
    granted = {}
    for facts, windows in windows_of.items():
        hard = tuple(window.charge for window in windows if window.budget.is_hard)
        least = request.kinds[facts] * _LEAST_CALLS
        if all(free[charge] >= least and rooms[charge] >= 0 and charge[0] not in elsewhere for charge in hard):
            blocks = any(window.budget.block_unpriced for window in windows)
            ends_at = min((window.budget.ends_at for window in windows), default=_NEVER)
            granted[facts] = Granted(hard, tuple(window.charge for window in windows), blocks, ends_at)
    used = {charge for grant in granted.values() for charge in grant.hard}
    gained = {charge: gain for charge, gain in gains.items() if gain and charge in used}
    held = {charge: all_ for charge, (all_, _) in request.leases.items()}
    for charge, gain in gained.items():
        held[charge] = held.get(charge, 0) + gain
    _write(connection, request.owner, leased, held, now, memory)
    return Renewed(granted, gained, {charge: hard_windows[charge].budget.ends_at for charge in used})


def give_back(connection: Connection, owner: str, now: datetime) -> None:
    """Everything that a process which is gone held ahead."""
    lock(connection)
    _write(connection, owner, {row.budget_id: row for row in _LEASED.all(connection, {"of": owner})}, {}, now, None)


def hold_apart(
    connection: Connection, draws: Mapping[str, Taken], now: datetime, memory: WindowMemory | None = None
) -> None:
    """Give calls that go on (log id → what they took) holds of their own; what is leased shrinks by `renew`."""
    kinds = {draw.facts for draw in draws.values() if draw.charges is not None}
    windows_of = lock_applying_windows(connection, kinds, now, memory)
    rows = list[dict[str, object]]()
    sums = dict[Charge, int]()
    for log_id, draw in draws.items():
        if draw.charges is None:
            continue
        for charge in add_new_windows(draw.charges, windows_of[draw.facts]):
            amount = draw.amount if charge in draw.charges else 0
            sums[charge] = sums.get(charge, 0) + amount
            row = {"log_id": log_id, "budget_id": charge[0], "starts_at": charge[1], "amount_nano_usd": amount}
            rows.append(row | {"expires_at": now + HOLD_LASTS})
    insert_rows(connection, budget_holds, rows)
    add_held(connection, sums, memory)


def _write(
    connection: Connection,
    owner: str,
    leased: Mapping[str, Any],
    held: Mapping[Charge, int],
    now: datetime,
    memory: WindowMemory | None,
) -> None:
    sums = dict[Charge, int]()
    after = {charge[0]: (charge[1], amount) for charge, amount in held.items() if amount}
    for budget_id, row in leased.items():
        sums[budget_id, row.starts_at] = -row.amount_nano_usd
        if budget_id not in after:
            _END.run(connection, [{"of": owner, "of_budget": budget_id}])
    for budget_id, (starts_at, amount) in after.items():
        sums[budget_id, starts_at] = sums.get((budget_id, starts_at), 0) + amount
        row = leased.get(budget_id)
        values = {"start": starts_at, "amount": amount, "until": now + HOLD_LASTS}
        if row is None:
            hold = {"log_id": owner, "budget_id": budget_id, "starts_at": starts_at, "amount_nano_usd": amount}
            insert_rows(connection, budget_holds, [hold | {"expires_at": now + HOLD_LASTS}])
        elif (row.starts_at, row.amount_nano_usd) != (starts_at, amount) or row.expires_at - now < HOLD_LASTS / 2:
            _CHANGE.run(connection, [values | {"of": owner, "of_budget": budget_id}])
    add_held(connection, sums, memory)
