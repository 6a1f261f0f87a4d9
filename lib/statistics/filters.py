"""What a question about the ledger is asked of: a range, a zone, and sets of values; and its SQL.

Column names come from the enums alone; every value is bound. Super-admins see every team's calls, who may view
statistics those of the chosen team, everybody else their own, with an API key those of its app: that condition is part
of every statement, whatever the filter says.
"""

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from lib.access.permissions import Actor
from lib.money import USD
from lib.statistics.exchange import RateBook
from lib.statistics.measures import Dimension, Measure

__all__ = ["Dimension", "Measure", "StatisticsFilter"]


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
    api_keys: tuple[str, ...] = ()
    served_models: tuple[str, ...] = ()
    error_kinds: tuple[str, ...] = ()
    lanes: tuple[str, ...] = ()
    service_tiers: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    parent_calls: tuple[str, ...] = ()
    workflow_runs: tuple[str, ...] = ()
    workflow_steps: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()  # ids
    tags: tuple[tuple[str, str], ...] = ()  # (name, value): all of them
    money: RateBook | None = None  # what cost is told in, at the rate of each day; None: dollars

    @property
    def currency(self) -> str:
        """The currency of cost figures, which are whole billionths of it."""
        return USD if self.money is None else self.money.currency

    @property
    def in_dollars(self) -> "StatisticsFilter":
        """A copy of the filter that reports in dollars."""
        return self if self.money is None else replace(self, money=None)

    def condition(self, actor: Actor) -> tuple[str, list[Any]]:
        """The WHERE clause for an actor, and its values."""
        parts = ["true"]
        values = list[Any]()
        if actor.sees_all_calls and not actor.sees_every_team:
            parts.append("team_id = ?")
            values.append(str(actor.team_id))
        elif not actor.sees_all_calls:
            parts.append("user_id = ?")
            values.append(actor.user_id)
            if actor.key is not None:
                parts.append("app = ? AND team_id = ?")
                values += [actor.key.app, str(actor.team_id)]
        for sign, moment in ((">=", self.start), ("<", self.end)):
            if moment is not None:
                parts.append(f"started_at {sign} ?")
                values.append(moment.astimezone(UTC).replace(tzinfo=None))
        for name, dimension in SETS.items():
            if allowed := getattr(self, name):
                parts.append(f"{dimension.column} IN ({', '.join('?' * len(allowed))})")
                values.extend(allowed)
        for name, value in self.tags:
            parts.append("json_extract_string(tags, ?) = ?")
            values += [build_tag_path(name), value]
        return " AND ".join(parts), values


def build_tag_path(name: str) -> str:
    """Where a tag stands in a row's JSON, as DuckDB writes it."""
    return "/" + name.replace("~", "~0").replace("/", "~1")  # a JSON pointer: nothing else in it means anything


SETS = {
    "providers": Dimension.PROVIDER,
    "models": Dimension.MODEL,
    "apps": Dimension.APP,
    "users": Dimension.USER,
    "configurations": Dimension.CONFIGURATION,
    "origins": Dimension.ORIGIN,
    "statuses": Dimension.STATUS,
    "api_keys": Dimension.API_KEY,
    "served_models": Dimension.SERVED_MODEL,
    "error_kinds": Dimension.ERROR_KIND,
    "lanes": Dimension.LANE,
    "service_tiers": Dimension.SERVICE_TIER,
    "caches": Dimension.CACHE,
    "sessions": Dimension.SESSION,
    "parent_calls": Dimension.PARENT_CALL,
    "workflow_runs": Dimension.WORKFLOW_RUN,
    "workflow_steps": Dimension.WORKFLOW_STEP,
    "teams": Dimension.TEAM,
}
assert set(SETS) == {field.name for field in fields(StatisticsFilter)} - {"start", "end", "zone", "tags", "money"}  # noqa: S101
assert set(SETS.values()) == set(Dimension)  # noqa: S101
