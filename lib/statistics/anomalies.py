"""Days whose cost is unusual for their weekday, and what moved.

A day is held against the same weekday of the eight weeks before. Unusual is what lies more than four deviations from
their median (1.4826 × the median absolute deviation, at least a tenth of the median), and further than half
of the median and a quarter of a usual day's cost. The reason is the model, the app and the person whose own cost
moved most in that direction, against its median of the same days. Nano-dollars; unknown days count nowhere.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING

from lib.access.permissions import Actor
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Dimension, Measure
from lib.statistics.periods import Step, midnight
from lib.statistics.series import History, daily

if TYPE_CHECKING:
    from lib.statistics.queries import Statistics

WEEKS = 8
_LEAST_WEEKS = 4
_DEVIATIONS = 4
_NORMAL_MAD = 1.4826
_MOST = 5
_CAUSES = (Dimension.MODEL, Dimension.APP, Dimension.USER)
_Costs = dict[tuple[str, date], int]


@dataclass(frozen=True)
class Mover:
    """Who moved most: its cost on the day and usually, nano-dollars."""

    dimension: Dimension
    value: str
    cost_nano: int
    usual_nano: int

    @property
    def moved_nano(self) -> int:
        """How much more than usual; negative when less."""
        return self.cost_nano - self.usual_nano

    @property
    def times(self) -> float | None:
        """The multiple of the usual cost; None where that is nothing."""
        return self.cost_nano / self.usual_nano if self.usual_nano else None


@dataclass(frozen=True)
class Anomaly:
    """An unusual day; `movers` holds at most one for each of model, app and person, the largest move first."""

    day: date
    cost_nano: int
    usual_nano: int
    movers: tuple[Mover, ...] = ()

    @property
    def times(self) -> float | None:
        """The multiple of the usual cost; None where that is nothing."""
        return self.cost_nano / self.usual_nano if self.usual_nano else None


def unusual_days(
    ask: "Statistics", actor: Actor, where: StatisticsFilter, first: date, last: date, now: datetime
) -> tuple[Anomaly, ...]:
    """The unusual days from `first` to `last`, in order, the five that moved most; today only when it is too much."""
    today = now.astimezone(where.zone).date()
    last = min(last, today)
    history = daily(ask, actor, where, first - timedelta(weeks=WEEKS), last)
    found = [one for one in marks(history) if first <= one.day and (one.day < today or one.cost_nano > one.usual_nano)]
    found = sorted(found, key=lambda one: -abs(one.cost_nano - one.usual_nano))[:_MOST]
    if not found:
        return ()
    days = {day for one in found for day in (one.day, *_same_days(one.day)) if day >= history.first}
    costs = {dimension: _costs(ask, actor, where, dimension, days) for dimension in _CAUSES}
    return tuple(sorted((_explained(one, costs, history.first) for one in found), key=lambda one: one.day))


def marks(history: History) -> list[Anomaly]:
    """The unusual days of a history, without reasons."""
    found = list[Anomaly]()
    for place, cost in enumerate(history.costs):
        day = history.first + timedelta(days=place)
        before = [known for one in _same_days(day) if (known := history.cost_on(one)) is not None]
        if cost is None or len(before) < _LEAST_WEEKS:
            continue
        usual = median(before)
        deviation = max(_NORMAL_MAD * median(abs(known - usual) for known in before), usual / 10)
        month = [known for known in history.costs[max(place - 28, 0) : place] if known is not None]
        least = max(_DEVIATIONS * deviation, usual / 2, median(month) / 4 if month else 0)
        if abs(cost - usual) > least:
            found.append(Anomaly(day, cost, round(usual)))
    return found


def _same_days(day: date) -> list[date]:
    """The same weekday of the weeks before, nearest first."""
    return [day - timedelta(weeks=weeks) for weeks in range(1, WEEKS + 1)]


def _explained(one: Anomaly, costs: Mapping[Dimension, _Costs], first: date) -> Anomaly:
    """The day with its movers."""
    usual_days = [day for day in _same_days(one.day) if day >= first]
    movers = [_mover(dimension, known, one, usual_days) for dimension, known in costs.items()]
    kept = [mover for mover in movers if mover is not None]
    return replace(one, movers=tuple(sorted(kept, key=lambda mover: -abs(mover.moved_nano))))


def _mover(dimension: Dimension, costs: _Costs, one: Anomaly, usual_days: Sequence[date]) -> Mover | None:
    """The value that moved most the day's way; None when that is less than a quarter of the day's move."""
    rising = one.cost_nano > one.usual_nano
    found = [
        Mover(
            dimension,
            value,
            costs.get((value, one.day), 0),
            round(median(costs.get((value, day), 0) for day in usual_days)),
        )
        for value in sorted({value for value, _ in costs})
    ]
    if not found:
        return None
    most = max(found, key=lambda mover: mover.moved_nano if rising else -mover.moved_nano)
    whole = one.cost_nano - one.usual_nano
    return most if (most.moved_nano > 0) == rising and abs(most.moved_nano) * 4 >= abs(whole) else None


def _costs(
    ask: "Statistics", actor: Actor, where: StatisticsFilter, dimension: Dimension, days: Collection[date]
) -> _Costs:
    """What each value cost on each of some days, as far as it is known."""
    start = midnight(min(days), where.zone)
    end = midnight(max(days) + timedelta(days=1), where.zone)
    frame = ask.pivot(actor, replace(where, start=start, end=end), [Step.DAY, dimension], [Measure.COST])
    kept = frame[frame.day.isin([day.isoformat() for day in days])].dropna(subset=[dimension.value, "cost"])
    rows = zip(kept[dimension.value], kept.day, kept.cost, strict=True)
    return {(name, date.fromisoformat(day)): int(cost) for name, day, cost in rows}
