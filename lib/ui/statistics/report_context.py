"""The view, range, step and zone that every card of the statistics is drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from lib.money import USD
from lib.statistics.filters import Dimension
from lib.statistics.periods import Bucket, PeriodStep, ReportRange, list_buckets
from lib.ui import format
from lib.ui.statistics.statistics_view import StatisticsView

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Scene:
    """A view resolved to a range and a step, in a zone."""

    view: StatisticsView
    range: ReportRange
    zone: ZoneInfo
    step: PeriodStep
    names: Mapping[str, str]  # of users and teams
    compact: bool
    currency: str = USD  # of cost

    @property
    def buckets(self) -> list[Bucket]:
        """The buckets of the range, oldest first."""
        return list_buckets(self.range.start, self.range.end, self.step, self.zone)

    def course(self, trend: "pd.DataFrame", now: datetime) -> "pd.DataFrame":
        """The trend with a row for each bucket that has begun."""
        return trend.set_index("bucket").reindex([bucket.key for bucket in self.buckets if bucket.start <= now])

    def named(self, dimension: Dimension, value: str) -> str:
        """A dimension's value as people know it: a user's name for the id, a status with its glyph."""
        if dimension is Dimension.STATUS:
            return format.STATUS_GLYPHS.get(value, value)
        if dimension is Dimension.ERROR_KIND:
            return value.replace("_", " ")
        return self.names.get(value, value) if dimension in (Dimension.USER, Dimension.TEAM) else value
