"""What changed since last week: the seven days up to now against the seven before them."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd

from lib.access.permissions import Actor
from lib.statistics.anomalies import Mover
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Dimension, Measure

if TYPE_CHECKING:
    from lib.statistics.queries import Figures, Statistics

_WEEK = timedelta(days=7)
_DIMENSIONS = (Dimension.MODEL, Dimension.APP, Dimension.USER)


@dataclass(frozen=True)
class Week:
    """Figures of both weeks; `movers` are those whose cost moved most, one of each kind, the largest move first.

    A mover's `usual_nano` is its cost in the week before. Values without any known cost in either week are no movers.
    """

    start: datetime
    end: datetime
    now: "Figures"
    previous: "Figures"
    movers: tuple[Mover, ...]


def compare_weeks(ask: "Statistics", actor: Actor, filters: StatisticsFilter, now: datetime) -> Week:
    """Both weeks, cut to five minutes so that a redraw asks the same."""
    end = now.replace(minute=now.minute // 5 * 5, second=0, microsecond=0) + timedelta(minutes=5)
    this_week = replace(filters, start=end - _WEEK, end=end)
    last_week = replace(filters, start=end - 2 * _WEEK, end=end - _WEEK)
    movers = [_find_most_moved(ask, actor, this_week, last_week, dimension) for dimension in _DIMENSIONS]
    known_movers = sorted((mover for mover in movers if mover is not None), key=lambda mover: -abs(mover.moved_nano))
    return Week(end - _WEEK, end, ask.totals(actor, this_week), ask.totals(actor, last_week), tuple(known_movers))


def _find_most_moved(
    ask: "Statistics", actor: Actor, this_week: StatisticsFilter, last_week: StatisticsFilter, dimension: Dimension
) -> Mover | None:
    frame = ask.compared(actor, this_week, last_week, [dimension], [Measure.COST]).dropna(subset=dimension.value)
    rows = zip(frame[dimension.value], frame.cost, frame.cost_before, strict=True)
    movers = [
        Mover(dimension, value, 0 if pd.isna(now) else int(now), 0 if pd.isna(earlier) else int(earlier))
        for value, now, earlier in rows
    ]
    most = max(movers, key=lambda mover: abs(mover.moved_nano), default=None)
    return most if most is not None and most.moved_nano else None
