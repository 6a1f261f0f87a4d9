"""A budget as a value: how much may be spent on what, in which windows of time, and what happens then.

Windows are UTC days, ISO weeks (from Monday) and calendar months. A hard budget stops calls that would pass its limit;
a soft one only tells. What a budget is about is named as the ledger's rows name it: a provider by its name, an app by
its own, configurations, users and keys by their ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from msgspec import Struct

from lib.db.team_ids import FIRST_TEAM
from lib.errors import InvalidInput
from lib.money import NANO_PER_USD

DEFAULT_THRESHOLDS = (50, 80, 100)
NEAR = 80  # percent of the limit from which a budget is said to be near it
_MOST_THRESHOLDS = 6
_HIGHEST_LIMIT = 1_000_000_000 * NANO_PER_USD


class BudgetScope(StrEnum):
    GLOBAL = "global"
    PROVIDER = "provider"
    CONFIGURATION = "configuration"
    APP = "app"
    USER = "user"
    KEY = "key"
    TEAM = "team"


class Period(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


COLUMN = {  # scope → the column of `usage_logs` and the field of `CallFacts` that names its subject
    BudgetScope.PROVIDER: "provider",
    BudgetScope.CONFIGURATION: "configuration_id",
    BudgetScope.APP: "app",
    BudgetScope.USER: "user_id",
    BudgetScope.KEY: "api_key_id",
    BudgetScope.TEAM: "team_id",
}


class CallFacts(Struct, frozen=True):
    """What decides which budgets a call falls under, as in its ledger row."""

    provider: str
    app: str
    configuration_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    team_id: int = FIRST_TEAM

    @property
    def subjects(self) -> list[tuple[str, str]]:
        """(scope, subject) of every budget that may apply."""
        pairs = (
            ("provider", self.provider),
            ("app", self.app),
            ("configuration", self.configuration_id),
            ("user", self.user_id),
            ("key", self.api_key_id),
            ("team", str(self.team_id)),
        )
        return [("global", ""), *[(scope, subject) for scope, subject in pairs if subject]]


@dataclass(frozen=True)
class Window:
    """`start` ≤ moment < `end`, both UTC."""

    start: datetime
    end: datetime


def compute_window(period: str, moment: datetime) -> Window:
    """The window of a period that holds a moment."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match Period(period):
        case Period.DAY:
            return Window(day, day + timedelta(days=1))
        case Period.WEEK:
            monday = day - timedelta(days=day.weekday())
            return Window(monday, monday + timedelta(days=7))
        case Period.MONTH:
            first = day.replace(day=1)
            return Window(first, (first + timedelta(days=32)).replace(day=1))


def format_window(period: str, start: datetime) -> str:
    """`October 2026`, `week 44 of 2026`, `31 Oct 2026`."""
    match Period(period):
        case Period.DAY:
            return f"{start.day} {start:%b %Y}"
        case Period.WEEK:
            year, week, _ = start.isocalendar()
            return f"week {week} of {year}"
        case Period.MONTH:
            return f"{start:%B %Y}"


@dataclass(frozen=True)
class Budget:
    """`label` is the subject's name for people; `exists` is False when nothing has that name or id any more."""

    id: str
    scope: BudgetScope
    subject: str
    period: Period
    limit_nano: int
    is_hard: bool
    thresholds: tuple[int, ...]
    block_unpriced: bool
    label: str
    exists: bool


@dataclass(frozen=True)
class BudgetDraft:
    """What a person may set later too, checked."""

    limit_nano: int
    is_hard: bool = True
    thresholds: Sequence[int] = DEFAULT_THRESHOLDS
    block_unpriced: bool = False

    def to_columns(self) -> dict[str, Any]:
        """Check the draft and return it as columns of a budget; InvalidInput names the field that can't be used."""
        if not 0 < self.limit_nano <= _HIGHEST_LIMIT:
            raise InvalidInput(
                "The limit can't be used.",
                "It must be more than $0 and at most $1,000,000,000.",
                "To stop an app altogether, switch its configurations off.",
                field="limit",
            )
        thresholds = sorted(set(self.thresholds))
        if len(thresholds) > _MOST_THRESHOLDS or any(not 1 <= percent <= 100 for percent in thresholds):
            raise InvalidInput(
                "The thresholds can't be used.",
                f"They are percents of the limit, from 1 to 100, at most {_MOST_THRESHOLDS}.",
                field="thresholds",
            )
        return {
            "limit_nano_usd": self.limit_nano,
            "is_hard": self.is_hard,
            "thresholds": thresholds,
            "block_unpriced": self.block_unpriced,
        }
