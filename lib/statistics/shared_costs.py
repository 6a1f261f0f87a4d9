"""Costs that all teams share each month (a subscription, a server): kept once, split by every statement since.

A cost has a name, an amount for each month, by what it is split, and the months in which it holds. Whoever changes it
for the months to come ends it and begins another; one that is set anew changes every statement of its months.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection

from lib.access import audit
from lib.access.permissions import Actor
from lib.db import installation
from lib.db.engine import Store
from lib.errors import InvalidInput, NotFound

_SETTING = "shared_costs"
_MOST = 100
_MOST_NANO = 10**18
_LAST_YEAR = 2999


class SharedBy(StrEnum):
    """In proportion to what shared costs are split."""

    COST = "cost"
    TOKENS = "tokens"
    CALLS = "calls"
    EQUALLY = "equally"


@dataclass(frozen=True)
class SharedCost:
    """A cost in nano-dollars a month; months as `2026-11`, both included, an empty last one: until further notice."""

    name: str
    monthly_nano: int
    shared_by: SharedBy
    first_month: str
    last_month: str = ""

    def check(self) -> None:
        """Raise InvalidInput for what can't be used."""
        if not (0 < len(self.name) <= 80 and self.name.isprintable() and self.name == self.name.strip()):
            raise InvalidInput("The shared cost needs a name.", "Of 1 to 80 signs.", field="name")
        check_amount(self.monthly_nano)
        for month in (self.first_month, *([self.last_month] if self.last_month else [])):
            parse_month(month)
        if self.last_month and self.last_month < self.first_month:
            raise InvalidInput("The last month is before the first.", "", "Correct it.", field="last_month")

    def holds_in(self, month: str) -> bool:
        """Whether the cost is one of a month."""
        return self.first_month <= month and (not self.last_month or month <= self.last_month)


class SharedCosts:
    """The shared costs of the installation."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self, actor: Actor) -> Sequence[SharedCost]:
        """List the shared costs by name."""
        actor.require_super_admin("look at shared costs")
        with self._store.read() as connection:
            return _read(connection)

    def set(self, actor: Actor, cost: SharedCost) -> None:
        """Keep a shared cost, in place of the one of its name."""
        actor.require_super_admin("set shared costs")
        cost.check()
        with self._store.write() as connection:
            other_costs = [other for other in _read(connection) if other.name != cost.name]
            if len(other_costs) >= _MOST:
                raise InvalidInput(f"There are {_MOST} shared costs already.", "", "Remove one first.")
            _write(connection, [*other_costs, cost])
            detail = {name: value for name, value in asdict(cost).items() if name != "name"}
            audit.record(connection, actor, "shared_cost.set", cost.name, **detail)

    def remove(self, actor: Actor, name: str) -> None:
        """Forget a shared cost, also for months that are over; NotFound."""
        actor.require_super_admin("remove shared costs")
        with self._store.write() as connection:
            costs = _read(connection)
            other_costs = [cost for cost in costs if cost.name != name]
            if len(other_costs) == len(costs):
                raise NotFound(f"There is no shared cost {name[:80]}.")
            _write(connection, other_costs)
            audit.record(connection, actor, "shared_cost.remove", name)

    def find_of_month(self, month: str) -> Sequence[SharedCost]:
        """Find the costs that hold in a month, for its statement (internal: it tells nobody but its own share)."""
        with self._store.read() as connection:
            return [cost for cost in _read(connection) if cost.holds_in(month)]


def parse_basis(word: str) -> SharedBy:
    """Read by what a cost is shared; raises InvalidInput."""
    try:
        return SharedBy(word)
    except ValueError as error:
        raise InvalidInput(f"Nothing is shared by {word[:40]}.", "", f"Use {', '.join(SharedBy)}.") from error


def check_amount(nano: int) -> None:
    """Raise InvalidInput for an amount that no shared cost has."""
    if not 0 <= nano <= _MOST_NANO:
        raise InvalidInput("The shared cost can't be used.", "", "Give dollars, 0 or more.", field="shared")


def parse_month(month: str) -> tuple[datetime, datetime]:
    """The first moment of a month and that of the next, in UTC; raises InvalidInput."""
    try:
        first = date.fromisoformat(f"{month}-01")
        if first.year > _LAST_YEAR or f"{first:%Y-%m}" != month:
            raise ValueError(month)
    except ValueError as error:
        raise InvalidInput(f"{month[:20]!r} is no month.", "", "Write it like 2026-11.", field="month") from error
    start = datetime(first.year, first.month, 1, tzinfo=UTC)
    return start, (start + timedelta(days=32)).replace(day=1)


def _read(connection: Connection) -> list[SharedCost]:
    rows = installation.read(connection, _SETTING) or []
    costs = [SharedCost(**{**row, "shared_by": SharedBy(row["shared_by"])}) for row in rows]
    return sorted(costs, key=lambda cost: cost.name.casefold())


def _write(connection: Connection, costs: Sequence[SharedCost]) -> None:
    installation.write(connection, _SETTING, [asdict(cost) for cost in costs])
