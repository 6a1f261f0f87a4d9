"""The cost of each local day, in a row: what forecasts and anomaly marks are made of."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pandas as pd

from lib.access.permissions import Actor
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Measure
from lib.statistics.periods import PeriodStep, compute_midnight

if TYPE_CHECKING:
    from lib.statistics.queries import Statistics


@dataclass(frozen=True)
class History:
    """Nano-dollars of consecutive days from `first` on; None where the cost is unknown, 0 where nobody called.

    `unpriced` are each day's calls whose cost is not, or not wholly, in it; empty where nobody counted them.
    """

    first: date
    costs: tuple[int | None, ...]
    unpriced: tuple[int, ...] = ()

    def cost_on(self, day: date) -> int | None:
        """A day's cost; None where it is unknown, and outside the history."""
        number = (day - self.first).days
        return self.costs[number] if 0 <= number < len(self.costs) else None

    def unpriced_since(self, day: date) -> int:
        """Count the calls from `day` on whose cost is not, or not wholly, known."""
        return sum(self.unpriced[max((day - self.first).days, 0) :])

    def until(self, day: date) -> "History":
        """The days before `day`."""
        return History(self.first, self.costs[: max((day - self.first).days, 0)])


def load_daily_history(ask: "Statistics", actor: Actor, filters: StatisticsFilter, first: date, last: date) -> History:
    """The days from the first with a call (of this filter, not before `first`) to `last`."""
    range_filters = replace(
        filters,
        start=compute_midnight(first, filters.zone),
        end=compute_midnight(last + timedelta(days=1), filters.zone),
    )
    frame = ask.pivot(actor, range_filters, [PeriodStep.DAY], [Measure.COST, Measure.UNPRICED])
    if frame.empty:
        return History(last, ())
    costs = {day: None if pd.isna(cost) else int(cost) for day, cost in zip(frame.day, frame.cost, strict=True)}
    start = date.fromisoformat(min(costs))
    unpriced = {day: int(calls) for day, calls in zip(frame.day, frame.unpriced, strict=True)}
    days = [(start + timedelta(days=n)).isoformat() for n in range((last - start).days + 1)]
    return History(start, tuple(costs.get(day, 0) for day in days), tuple(unpriced.get(day, 0) for day in days))
