"""What a question about the ledger is asked of: a range, a zone, and sets of values; and its SQL.

Column names come from the enums alone; every value is bound. Who may not see everybody's calls sees their own, with an
API key those of its app: that condition is part of every statement, whatever the filter says.
"""

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from lib.access.permissions import Actor


class Dimension(StrEnum):
    """What figures can be split by."""

    PROVIDER = "provider"
    MODEL = "model"
    APP = "app"
    USER = "user"
    API_KEY = "api_key"
    CONFIGURATION = "configuration"
    ORIGIN = "origin"
    STATUS = "status"

    @property
    def column(self) -> str:
        """Its column in the ledger."""
        return f"{self.value}_id" if self in (self.USER, self.API_KEY, self.CONFIGURATION) else self.value


# Unknown added to nothing but zeros (failed attempts are free) is unknown, not zero.
COST_SQL = """CASE WHEN sum(cost_nano_usd) = 0 AND count(*) > count(cost_nano_usd) THEN NULL
    ELSE CAST(sum(cost_nano_usd) AS BIGINT) END"""

# A row is a call; an imported sum is as many as it says, none where it does not say.
CALLS_SQL = "CAST(coalesce(sum(calls) FILTER (is_final), 0) AS BIGINT)"


class Measure(StrEnum):
    """What is added up. Calls are counted over final rows; money and tokens over every attempt."""

    COST = "cost"
    TOKENS = "tokens"
    CALLS = "calls"

    @property
    def sql(self) -> str:
        """The exact sum, an integer; NULL where nothing is known."""
        return {
            "cost": COST_SQL,
            "tokens": "CAST(sum(total_tokens) AS BIGINT)",
            "calls": CALLS_SQL,
        }[self.value]


_UTC = ZoneInfo("UTC")


@dataclass(frozen=True)
class StatisticsFilter:
    """`start` ≤ started_at < `end` (None: open), in one of the named values of each non-empty set."""

    start: datetime | None = None
    end: datetime | None = None
    zone: ZoneInfo = _UTC
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    configurations: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()

    def condition(self, actor: Actor) -> tuple[str, list[Any]]:
        """The WHERE clause for an actor, and its values."""
        parts, values = ["true"], list[Any]()
        if not actor.sees_all_calls:
            parts.append("user_id = ?")
            values.append(actor.user_id)
            if actor.key is not None:
                parts.append("app = ?")
                values.append(actor.key.app)
        for sign, moment in ((">=", self.start), ("<", self.end)):
            if moment is not None:
                parts.append(f"started_at {sign} ?")
                values.append(moment.astimezone(UTC).replace(tzinfo=None))
        for name, column in _SETS.items():
            if chosen := getattr(self, name):
                parts.append(f"{column} IN ({', '.join('?' * len(chosen))})")
                values.extend(chosen)
        return " AND ".join(parts), values


_SETS = {
    "providers": "provider",
    "models": "model",
    "apps": "app",
    "users": "user_id",
    "configurations": "configuration_id",
    "origins": "origin",
    "statuses": "status",
}
assert set(_SETS) == {field.name for field in fields(StatisticsFilter)} - {"start", "end", "zone"}  # noqa: S101
