"""What a month will have cost at its end, with an interval, and how good that has been.

A day's cost is a level with a damped trend (Theil–Sen over four weeks), times its weekday's share (median over eight
weeks): one odd day moves neither. The interval is as wide as four of five forecasts of as many days have missed by in
the past, each made from what was known by then (a conformal interval); the back-test does the same for whole months.
Days without a call cost 0; days whose cost is unknown are left out. Costs are integer nano-dollars, forecasts rounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.access.permissions import Actor
from lib.money import choose_least_sign, convert_nano_to_usd
from lib.statistics.filters import StatisticsFilter
from lib.statistics.series import History, load_daily_history

if TYPE_CHECKING:
    from lib.statistics.queries import Statistics

LEAST_DAYS = 42
COVERAGE = 0.8
_TREND_DAYS = 28
_WEEKDAY_DAYS = 56
_DAMPING = 0.9
_LEAST_TRAINED = 21
_LEAST_ERRORS = 10
_MOST_ERRORS = 120
_AHEAD = 31
_HISTORY_DAYS = 420
_MONTHS = 12
_AFTER = (7, 14, 21)
_NORMAL_MAD = 1.4826

_Floats = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class DayAhead:
    """A day's expected cost and its interval, nano-dollars."""

    day: date
    cost_nano: int
    low_nano: int
    high_nano: int


@dataclass(frozen=True)
class MonthForecast:
    """The month's cost at its end, nano-dollars, and the days from today on."""

    cost_nano: int
    low_nano: int
    high_nano: int
    days: tuple[DayAhead, ...]


@dataclass(frozen=True)
class Backtest:
    """Forecasts of past months, made after one, two and three weeks of each, against what came."""

    months: int
    forecasts: int
    mape: float  # mean absolute error, as a part of what came
    within: int  # forecasts whose interval held what came


@dataclass(frozen=True)
class Outlook:
    """A month so far and at its end; `forecast` is None with less than `LEAST_DAYS` whole days of history.

    `unpriced_calls` of the month are not, or not wholly, in `spent_nano`, which is the least that was spent then.
    """

    month: date  # its first day
    last: date
    spent_nano: int
    history_days: int
    forecast: MonthForecast | None
    backtest: Backtest | None
    unpriced_calls: int = 0


def forecast_month_end(ask: "Statistics", actor: Actor, filters: StatisticsFilter, now: datetime) -> Outlook:
    """The outlook of the month that is running in the filter's zone, of what the filter's sets leave."""
    today = now.astimezone(filters.zone).date()
    history = load_daily_history(ask, actor, filters, today - timedelta(days=_HISTORY_DAYS), today)
    return compute_outlook(history, today)


def build_record(month_outlook: Outlook) -> dict[str, Any]:
    """An outlook as one row of a file: exact dollars, None where nothing is known."""
    forecast = month_outlook.forecast
    test = month_outlook.backtest
    return {
        "month": f"{month_outlook.month:%Y-%m}",
        "least": choose_least_sign(month_outlook.unpriced_calls > 0),
        "spent_usd": convert_nano_to_usd(month_outlook.spent_nano),
        "unpriced_calls": month_outlook.unpriced_calls,
        "forecast_usd": convert_nano_to_usd(forecast.cost_nano) if forecast else None,
        "low_usd": convert_nano_to_usd(forecast.low_nano) if forecast else None,
        "high_usd": convert_nano_to_usd(forecast.high_nano) if forecast else None,
        "interval": COVERAGE,
        "history_days": month_outlook.history_days,
        "tested_months": test.months if test else None,
        "tested_forecasts": test.forecasts if test else None,
        "mean_error": round(test.mape, 6) if test else None,
        "within_interval": test.within if test else None,
    }


@lru_cache(maxsize=64)
def compute_outlook(history: History, today: date) -> Outlook:
    """The outlook on `today`, whose cost so far may be the last of the history."""
    past = history.until(today)
    month = today.replace(day=1)
    last = _find_month_end(today)
    spent = sum(history.cost_on(month + timedelta(days=n)) or 0 for n in range(today.day))
    unpriced = history.unpriced_since(month)
    if len(past.costs) < LEAST_DAYS:
        return Outlook(month, last, spent, len(past.costs), None, None, unpriced)
    model = _Model(past)
    ahead = (last - today).days + 1
    so_far = history.cost_on(today) or 0
    prediction = model.forecast(len(past.costs), ahead)
    days = tuple(
        DayAhead(today + timedelta(days=n), max(cost, so_far if n == 0 else 0), low, max(high, so_far if n == 0 else 0))
        for n, (cost, low, high) in enumerate(prediction.days)
    )
    spent_earlier = spent - so_far
    cost = spent_earlier + max(sum(day.cost_nano for day in days), so_far)
    low = spent_earlier + max(prediction.low, so_far)
    high = max(spent_earlier + prediction.high, cost)
    month_forecast = MonthForecast(cost, min(low, cost), high, days)
    return Outlook(month, last, spent, len(past.costs), month_forecast, model.backtest(), unpriced)


@dataclass(frozen=True)
class _Prediction:
    cost: int
    low: int
    high: int
    days: list[tuple[int, int, int]]


class _Model:
    """Every forecast that could have been made on each day of a history, so that a later one knows their errors."""

    def __init__(self, history: History) -> None:
        self._first = history.first
        self._costs = np.array([np.nan if cost is None else float(cost) for cost in history.costs])
        count = len(self._costs)
        self._predictions = np.full((count + 1, _AHEAD), np.nan)
        for days in range(_LEAST_TRAINED, count + 1):
            self._predictions[days] = forecast_costs(self._costs[:days], self._first.weekday(), _AHEAD)

    def forecast(self, past_days: int, ahead: int) -> _Prediction:
        """The next `ahead` days as seen after the first `known` days."""
        each = self._predictions[past_days, :ahead]
        whole = float(each.sum())
        wide, daily_wide = self._errors(past_days, ahead)
        days = [(round(cost), round(max(cost * (1 - daily_wide), 0)), round(cost * (1 + daily_wide))) for cost in each]
        return _Prediction(round(whole), round(max(whole * (1 - wide), 0)), round(whole * (1 + wide)), days)

    def backtest(self) -> Backtest | None:
        """The newest whole months before which there was enough to learn from; None without any."""
        errors = list[float]()
        within = 0
        months = 0
        end = (self._first + timedelta(days=len(self._costs))).replace(day=1)
        while months < _MONTHS:
            start = (end - timedelta(days=1)).replace(day=1)
            begin = (start - self._first).days
            stop = (end - self._first).days
            end = start
            if begin + _AFTER[0] < LEAST_DAYS:
                break
            came = float(np.nansum(self._costs[begin:stop]))
            if came <= 0:
                continue
            months += 1
            for past_days in (begin + days for days in _AFTER if begin + days >= LEAST_DAYS):
                spent = float(np.nansum(self._costs[begin:past_days]))
                prediction = self.forecast(past_days, stop - past_days)
                errors.append(abs(spent + prediction.cost - came) / came)
                within += (
                    spent + prediction.low - 1 <= came <= spent + prediction.high + 1
                )  # what rounding may have taken
        return Backtest(months, len(errors), sum(errors) / len(errors), within) if errors else None

    def _errors(self, past_days: int, ahead: int) -> tuple[float, float]:
        """By how much four of five earlier forecasts missed, as a part of the forecast: of the sum, and of a day."""
        ahead = min(ahead, past_days - _LEAST_TRAINED - _LEAST_ERRORS)
        sums = list[float]()
        days = list[float]()
        for past in range(max(_LEAST_TRAINED, past_days - ahead - _MOST_ERRORS + 1), past_days - ahead + 1):
            predicted = self._predictions[past, :ahead]
            came = self._costs[past : past + ahead]
            is_known = ~np.isnan(came)
            if not is_known.any():
                continue
            sums.append(_compute_miss(float(predicted[is_known].sum()), float(came[is_known].sum())))
            days += [
                _compute_miss(float(a), float(b)) for a, b in zip(predicted[is_known], came[is_known], strict=True)
            ]
        return compute_conformal_quantile(sums), compute_conformal_quantile(days)


def compute_conformal_quantile(misses: Sequence[float]) -> float:
    """The miss that `COVERAGE` of those to come stay below: the ⌈(n+1)·coverage⌉-th smallest; 1 without any."""
    if not misses:
        return 1.0
    rank = ceil((len(misses) + 1) * COVERAGE)
    return sorted(misses)[min(rank, len(misses)) - 1]


def forecast_costs(costs: _Floats, first_weekday: int, ahead: int) -> _Floats:
    """The expected costs of the `ahead` days after `costs`, of which the first fell on `first_weekday` (0 Monday)."""
    weekdays = (first_weekday + np.arange(len(costs) + ahead)) % 7
    shares = _compute_weekday_shares(costs[-_WEEKDAY_DAYS:], weekdays[: len(costs)][-_WEEKDAY_DAYS:])
    recent = costs[-_TREND_DAYS:]
    factors = shares[weekdays[: len(costs)][-_TREND_DAYS:]]
    times = np.arange(len(recent)) - (len(recent) - 1.0)
    usable = ~np.isnan(recent) & (factors > 0.02)
    if not usable.any():
        return np.zeros(ahead)
    levels = recent[usable] / factors[usable]
    at = times[usable]
    slope = _compute_slope(at, levels)
    level = float(np.median(levels - slope * at))
    fitted = np.maximum(level + slope * at, 0) * factors[usable]
    scale = _compute_mean_over_median(recent[usable], fitted)
    steps = np.cumsum(_DAMPING ** np.arange(1, ahead + 1))
    expected: _Floats = np.maximum(level + slope * steps, 0) * shares[weekdays[len(costs) :]] * scale
    return expected


def _compute_weekday_shares(costs: _Floats, weekdays: Any) -> _Floats:
    """Each weekday's usual cost over that of a mean day, from Monday on; they add up to 7."""
    known_costs = np.nan_to_num(costs)
    window = np.ones(7)
    counts = np.convolve(~np.isnan(costs), window, mode="valid")
    means = np.convolve(known_costs, window, mode="valid") / np.maximum(counts, 1)
    around = np.concatenate([np.repeat(means[:1], 3), means, np.repeat(means[-1:], 3)])  # the week around each day
    parts = np.divide(costs, around, out=np.full(len(costs), np.nan), where=around > 0)
    shares = np.ones(7)
    for weekday in range(7):
        weekday_parts = parts[weekdays == weekday]
        weekday_parts = weekday_parts[~np.isnan(weekday_parts)]
        if len(weekday_parts):
            shares[weekday] = np.median(weekday_parts)
    return shares * 7 / shares.sum() if shares.sum() > 0 else np.ones(7)


def _compute_slope(times: _Floats, values: _Floats) -> float:
    """Theil and Sen's: the median slope of all pairs."""
    first, second = np.triu_indices(len(values), 1)
    if not len(first):
        return 0.0
    return float(np.median((values[second] - values[first]) / (times[second] - times[first])))


def _compute_mean_over_median(came: _Floats, fitted: _Floats) -> float:
    """A sum wants means, and costs are skewed: what came over what was fitted, odd days cut to three deviations."""
    misses = came - fitted
    odd = 3 * _NORMAL_MAD * float(np.median(np.abs(misses - np.median(misses))))
    usual = np.clip(came, fitted - odd, fitted + odd)
    return float(max(usual.sum(), 0) / fitted.sum()) if fitted.sum() > 0 else 1.0


def _compute_miss(predicted: float, came: float) -> float:
    return abs(came - predicted) / predicted if predicted > 0 else float(came > 0)


def _find_month_end(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
