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
from lib.statistics.periods import PeriodStep, compute_midnight
from lib.statistics.series import History, load_daily_history

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


def find_unusual_days(
    ask: "Statistics", actor: Actor, filters: StatisticsFilter, first: date, last: date, now: datetime
) -> tuple[Anomaly, ...]:
    """The unusual days from `first` to `last`, in order, the five that moved most; today only when it is too much."""
    today = now.astimezone(filters.zone).date()
    last = min(last, today)
    history = load_daily_history(ask, actor, filters, first - timedelta(weeks=WEEKS), last)
    unusual = [
        anomaly
        for anomaly in mark_unusual_days(history)
        if first <= anomaly.day and (anomaly.day < today or anomaly.cost_nano > anomaly.usual_nano)
    ]
    unusual = sorted(unusual, key=lambda anomaly: -abs(anomaly.cost_nano - anomaly.usual_nano))[:_MOST]
    if not unusual:
        return ()
    days = {
        day
        for anomaly in unusual
        for day in (anomaly.day, *_list_earlier_weekdays(anomaly.day))
        if day >= history.first
    }
    costs = {dimension: _read_costs(ask, actor, filters, dimension, days) for dimension in _CAUSES}
    return tuple(
        sorted((_explain(anomaly, costs, history.first) for anomaly in unusual), key=lambda anomaly: anomaly.day)
    )


def mark_unusual_days(history: History) -> list[Anomaly]:
    """The unusual days of a history, without reasons."""
    anomalies = list[Anomaly]()
    for number, cost in enumerate(history.costs):
        day = history.first + timedelta(days=number)
        earlier_costs = [
            day_cost
            for earlier_day in _list_earlier_weekdays(day)
            if (day_cost := history.cost_on(earlier_day)) is not None
        ]
        if cost is None or len(earlier_costs) < _LEAST_WEEKS:
            continue
        usual = median(earlier_costs)
        deviation = max(_NORMAL_MAD * median(abs(day_cost - usual) for day_cost in earlier_costs), usual / 10)
        month = [day_cost for day_cost in history.costs[max(number - 28, 0) : number] if day_cost is not None]
        least = max(_DEVIATIONS * deviation, usual / 2, median(month) / 4 if month else 0)
        if abs(cost - usual) > least:
            anomalies.append(Anomaly(day, cost, round(usual)))
    return anomalies


def _list_earlier_weekdays(day: date) -> list[date]:
    """Return the same weekday of the eight weeks before a day, nearest first."""
    return [day - timedelta(weeks=weeks) for weeks in range(1, WEEKS + 1)]


def _explain(anomaly: Anomaly, costs: Mapping[Dimension, _Costs], first: date) -> Anomaly:
    """Add the movers of each dimension to an unusual day."""
    usual_days = [day for day in _list_earlier_weekdays(anomaly.day) if day >= first]
    movers = [
        _find_mover(dimension, dimension_costs, anomaly, usual_days) for dimension, dimension_costs in costs.items()
    ]
    known_movers = [mover for mover in movers if mover is not None]
    return replace(anomaly, movers=tuple(sorted(known_movers, key=lambda mover: -abs(mover.moved_nano))))


def _find_mover(dimension: Dimension, costs: _Costs, anomaly: Anomaly, usual_days: Sequence[date]) -> Mover | None:
    """The value that moved most the day's way; None when that is less than a quarter of the day's move."""
    rising = anomaly.cost_nano > anomaly.usual_nano
    movers = [
        Mover(
            dimension,
            value,
            costs.get((value, anomaly.day), 0),
            round(median(costs.get((value, day), 0) for day in usual_days)),
        )
        for value in sorted({value for value, _ in costs})
    ]
    if not movers:
        return None
    most = max(movers, key=lambda mover: mover.moved_nano if rising else -mover.moved_nano)
    whole = anomaly.cost_nano - anomaly.usual_nano
    return most if (most.moved_nano > 0) == rising and abs(most.moved_nano) * 4 >= abs(whole) else None


def _read_costs(
    ask: "Statistics", actor: Actor, filters: StatisticsFilter, dimension: Dimension, days: Collection[date]
) -> _Costs:
    """Read the known cost (nano-dollars) of each value of a dimension on each of the days."""
    start = compute_midnight(min(days), filters.zone)
    end = compute_midnight(max(days) + timedelta(days=1), filters.zone)
    frame = ask.pivot(actor, replace(filters, start=start, end=end), [PeriodStep.DAY, dimension], [Measure.COST])
    known_costs = frame[frame.day.isin([day.isoformat() for day in days])].dropna(subset=[dimension.value, "cost"])
    rows = zip(known_costs[dimension.value], known_costs.day, known_costs.cost, strict=True)
    return {(name, date.fromisoformat(day)): int(cost) for name, day, cost in rows}
