"""Which calls somebody wants to see, and the same thing as the query of an address.

A filter names a period relative to now (`1h`, `24h`, `7d`, `30d`) or, as `custom`, two moments: `start` included, `end`
not, either open. In an address lists repeat their parameter: `?period=7d&status=error&status=timeout&q=refund`.
Reading an address never fails: what can't be understood is left out. `from_query(f.to_query()) == f`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

PERIODS: Final = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
CUSTOM: Final = "custom"
DEFAULT_PERIOD: Final = "24h"
LIVE: Final = "live"
STATUSES: Final = ("ok", "error", "cancelled", "truncated", "timeout", "refused", "orphaned", "running")
LISTS: Final = {
    "provider": "providers",
    "model": "models",
    "app": "apps",
    "user": "users",
    "status": "statuses",
    "origin": "origins",
    "error": "error_kinds",
    "configuration": "configurations",
    "api_key": "api_keys",
    "served_model": "served_models",
    "service_tier": "service_tiers",
    "cache": "caches",
    "conversation": "conversations",
    "session": "sessions",
    "parent_call": "parent_calls",
    "workflow_run": "workflow_runs",
    "workflow_step": "workflow_steps",
    "team": "teams",
    "tag": "tags",
    "batch": "batches",
}
_MAX_TEXT = 200
_MAX_VALUES = 100
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class ActivityFilter:
    """Everything empty means any. `start` and `end` are used when `period` is `custom`, which they imply."""

    period: str = DEFAULT_PERIOD
    start: datetime | None = None
    end: datetime | None = None
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    error_kinds: tuple[str, ...] = ()
    configurations: tuple[str, ...] = ()  # ids
    api_keys: tuple[str, ...] = ()  # ids
    served_models: tuple[str, ...] = ()
    service_tiers: tuple[str, ...] = ()  # how calls were served, as rows name it
    caches: tuple[str, ...] = ()  # none, exact, loose, semantic
    conversations: tuple[str, ...] = ()  # ids
    sessions: tuple[str, ...] = ()
    parent_calls: tuple[str, ...] = ()  # ids
    workflow_runs: tuple[str, ...] = ()  # ids
    workflow_steps: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()  # ids
    tags: tuple[str, ...] = ()  # `name=value`: all of them
    batches: tuple[str, ...] = ()  # what brought the rows: `demo`, the id of an import, or `live` for calls made here
    text: str = ""

    def __post_init__(self) -> None:
        """One form for what means the same: UTC moments, clean text, lists without repeats."""
        has_moments = self.start is not None or self.end is not None
        period = CUSTOM if has_moments or self.period not in PERIODS else self.period
        object.__setattr__(self, "period", period)
        for name in ("start", "end"):
            value = getattr(self, name)
            object.__setattr__(self, name, value.astimezone(UTC) if value else None)
        for name in LISTS.values():
            object.__setattr__(self, name, _clean_values(getattr(self, name)))
        object.__setattr__(self, "text", _make_storable(self.text).strip()[:_MAX_TEXT].strip())

    @property
    def narrows(self) -> bool:
        """Whether anything but the period is asked for."""
        return bool(self.text) or any(getattr(self, name) for name in LISTS.values())

    def at(self, now: datetime) -> "ActivityFilter":
        """A filter whose period is two moments counted from `now`, so that paging and exports don't move."""
        if self.period == CUSTOM:
            return self
        return replace(self, period=CUSTOM, start=now - PERIODS[self.period], end=None)

    def to_query(self) -> dict[str, list[str]]:
        """Parameters of an address; the default period and everything empty are left out."""
        query: dict[str, list[str]] = {}
        if self.period != DEFAULT_PERIOD:
            query["period"] = [self.period]
        if self.start is not None:
            query["from"] = [self.start.isoformat()]
        if self.end is not None:
            query["to"] = [self.end.isoformat()]
        query |= {name: list(getattr(self, field)) for name, field in LISTS.items() if getattr(self, field)}
        return query | ({"q": [self.text]} if self.text else {})

    @classmethod
    def from_query(cls, query: Mapping[str, Iterable[str]], zone: tzinfo = UTC) -> "ActivityFilter":
        """The filter of an address; moments without an offset, and days, are read in `zone`."""
        values = {name: list(texts) for name, texts in query.items()}

        def last(name: str) -> str:
            return values.get(name, [""])[-1] if values.get(name) else ""

        values["status"] = [status for status in values.get("status", ()) if status in STATUSES]
        period = last("period") or DEFAULT_PERIOD
        dated = period not in PERIODS or not last("period")
        return cls(
            period=period if period in PERIODS or period == CUSTOM else DEFAULT_PERIOD,
            start=_parse_moment(last("from"), zone) if dated else None,
            end=_parse_moment(last("to"), zone, whole_day=True) if dated else None,
            text=last("q"),
            **{field: tuple(values.get(name, ())) for name, field in LISTS.items()},
        )


def _make_storable(text: str) -> str:
    """Without what no store takes: NUL and lone surrogates."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def _clean_values(texts: Iterable[str]) -> tuple[str, ...]:
    cleaned = (_make_storable(value)[:_MAX_TEXT] for value in texts)
    return tuple(dict.fromkeys(value for value in cleaned if value))[:_MAX_VALUES]


def _parse_moment(text: str, zone: tzinfo, whole_day: bool = False) -> datetime | None:
    """An ISO moment or day as UTC; with `whole_day`, a day stands for its end."""
    try:
        # A "+" of an offset that nobody escaped arrives as a space.
        moment = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text.strip())
        if whole_day and len(text.strip()) == len("2026-10-31"):
            moment += _DAY
        aware = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        return aware.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
