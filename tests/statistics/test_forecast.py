"""Forecasts to the month's end: exact where use is regular, blind to what comes later, honest about how they did."""

import math
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.db.engine import Store
from lib.statistics.filters import StatisticsFilter
from lib.statistics.forecast import LEAST_DAYS, compute_conformal_quantile, compute_outlook, forecast_month_end
from lib.statistics.queries import Statistics
from lib.statistics.series import History, load_daily_history
from lib.ui.statistics.outlook import describe_forecast
from tests.statistics.ledger_rows import AMIRA, call, write

pytestmark = pytest.mark.feature("COST-7")
TODAY = date(2026, 10, 20)
WEEK = (120, 130, 120, 110, 100, 30, 0)
USD = 10**9


def week_by_week(days: int, end: date = TODAY, *, noise: float = 0, growth: float = 0, seed: int = 1) -> History:
    """`days` whole days before `end`, by weekday, with noise."""
    random_, first = random.Random(seed), end - timedelta(days=days)
    costs = [
        round(WEEK[(first + timedelta(days=n)).weekday()] * USD * (1 + growth) ** n * math.exp(random_.gauss(0, noise)))
        for n in range(days)
    ]
    return History(first, tuple(costs))


def test_regular_weeks_are_foretold_to_the_cent() -> None:
    found = compute_outlook(week_by_week(200), TODAY)
    month = [date(2026, 10, day) for day in range(1, 32)]
    assert found.forecast is not None
    assert found.spent_nano == sum(WEEK[day.weekday()] for day in month if day < TODAY) * USD
    whole = sum(WEEK[day.weekday()] for day in month) * USD
    assert found.forecast.cost_nano == pytest.approx(whole, rel=1e-9)
    assert found.forecast.high_nano - found.forecast.low_nano <= whole // 10**6
    assert [day.day for day in found.forecast.days] == [date(2026, 10, day) for day in range(20, 32)]
    assert found.backtest is not None
    assert found.backtest.mape < 1e-9
    assert found.backtest.within == found.backtest.forecasts


def test_one_runaway_day_moves_neither_the_trend_nor_the_weekdays() -> None:
    calm = week_by_week(120, noise=0.1)
    costs = list(calm.costs)
    costs[-10] = 40 * USD * 1000
    told, usual = (compute_outlook(one, TODAY).forecast for one in (History(calm.first, tuple(costs)), calm))
    assert told
    assert usual
    ahead, without = (sum(day.cost_nano for day in one.days) for one in (told, usual))
    assert ahead == pytest.approx(without, rel=0.08)


@pytest.mark.parametrize("noise", [0.1, 0.3, 0.5])
def test_the_interval_holds_what_comes_about_as_often_as_it_says(noise: float) -> None:
    held = made = 0
    for seed in range(12):
        tested = compute_outlook(week_by_week(400, noise=noise, growth=0.001, seed=seed), TODAY).backtest
        assert tested is not None
        held, made = held + tested.within, made + tested.forecasts
    assert 0.65 <= held / made <= 0.92


def test_too_little_history_says_so() -> None:
    short = compute_outlook(week_by_week(LEAST_DAYS - 1), TODAY)
    assert (short.forecast, short.backtest, short.history_days) == (None, None, LEAST_DAYS - 1)
    assert short.spent_nano > 0
    long = compute_outlook(week_by_week(LEAST_DAYS), TODAY)
    assert long.forecast is not None
    assert long.backtest is None


def test_what_today_has_cost_already_is_in_the_forecast_and_its_interval() -> None:
    known = week_by_week(100)
    today = History(known.first, (*known.costs, 5_000 * USD))
    found, without = compute_outlook(today, TODAY), compute_outlook(known, TODAY)
    assert found.forecast
    assert without.forecast
    assert found.spent_nano == without.spent_nano + 5_000 * USD
    assert found.forecast.low_nano >= found.spent_nano
    assert found.forecast.days[0].cost_nano == 5_000 * USD


def test_a_month_with_calls_not_wholly_priced_says_that_its_sum_is_the_least() -> None:
    known = week_by_week(100)
    calls = tuple(2 if number == 95 else 0 for number in range(100))  # on the 15th
    lines = describe_forecast(compute_outlook(History(known.first, known.costs, calls), TODAY))
    assert "So far: ≥ \\$" in lines[0]
    assert lines[1].startswith("2 calls are not, or not wholly, priced")
    assert "≥" not in describe_forecast(compute_outlook(known, TODAY))[0]


COSTS = st.lists(st.none() | st.integers(0, 10**12), min_size=LEAST_DAYS, max_size=150)


@settings(max_examples=40, deadline=None)
@given(costs=COSTS)
def test_a_forecast_lies_in_its_interval_and_above_what_is_spent(costs: list[int | None]) -> None:
    found = compute_outlook(History(TODAY - timedelta(days=len(costs)), tuple(costs)), TODAY)
    assert found.forecast is not None
    assert found.spent_nano <= found.forecast.low_nano <= found.forecast.cost_nano <= found.forecast.high_nano
    in_month = costs[-19:]
    assert found.spent_nano == sum(cost for cost in in_month if cost is not None)
    for day in found.forecast.days:
        assert 0 <= day.low_nano <= day.cost_nano <= day.high_nano


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), days=st.integers(100, 260))
def test_the_back_test_is_what_the_forecasts_of_those_days_said(seed: int, days: int) -> None:
    """Each is made again from the days before it alone: no forecast of the back-test saw what came after."""
    history = week_by_week(days, noise=0.4, seed=seed)
    missed, within = [], 0
    month = date(2026, 9, 1)
    while (month - history.first).days + 7 >= LEAST_DAYS:
        ends = (month + timedelta(days=31)).replace(day=1)
        came = sum(history.cost_on(month + timedelta(days=n)) or 0 for n in range((ends - month).days))
        for after in (7, 14, 21):
            then = month + timedelta(days=after)
            if (then - history.first).days < LEAST_DAYS:
                continue
            said = compute_outlook(history.until(then), then).forecast
            assert said is not None
            missed.append(abs(said.cost_nano - came) / came)
            within += said.low_nano <= came <= said.high_nano
        month = (month - timedelta(days=1)).replace(day=1)
    tested = compute_outlook(history, TODAY).backtest
    assert tested is not None
    assert tested.forecasts == len(missed)
    assert tested.mape == pytest.approx(sum(missed) / len(missed), rel=1e-6)
    assert tested.within == within


@given(misses=st.lists(st.floats(0, 100), min_size=1, max_size=60))
def test_four_of_five_misses_lie_below_the_conformal_one(misses: list[float]) -> None:
    width = compute_conformal_quantile(misses)
    assert sum(miss <= width for miss in misses) >= min(math.ceil((len(misses) + 1) * 0.8), len(misses))
    assert width in misses


@settings(max_examples=30, deadline=None)
@given(factor=st.integers(2, 1000))
def test_the_currency_does_not_matter(factor: int) -> None:
    plain = week_by_week(90, noise=0.3)
    more = History(plain.first, tuple(cost * factor for cost in plain.costs if cost is not None))
    one, other = compute_outlook(plain, TODAY).forecast, compute_outlook(more, TODAY).forecast
    assert one
    assert other
    assert other.cost_nano == pytest.approx(one.cost_nano * factor, rel=1e-9)
    assert other.high_nano == pytest.approx(one.high_nano * factor, rel=1e-9)


def test_days_are_those_of_the_zone_and_gaps_cost_nothing(store: Store, tmp_path: Path) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    write(
        store,
        call(datetime(2026, 10, 1, 22, 30, tzinfo=UTC), cost_nano_usd=5),  # the 2nd in Berlin
        call(datetime(2026, 10, 4, 12, tzinfo=UTC), cost_nano_usd=None),
        call(datetime(2026, 10, 5, 12, tzinfo=UTC), cost_nano_usd=7),
        call(datetime(2026, 10, 5, 12, tzinfo=UTC), cost_nano_usd=9, app="other"),
    )
    ask = Statistics(store, tmp_path)
    where = StatisticsFilter(zone=berlin, apps=("tests",))
    found = load_daily_history(ask, AMIRA, where, date(2026, 1, 1), date(2026, 10, 6))
    assert found == History(date(2026, 10, 2), (5, 0, None, 7, 0), (0, 0, 1, 0, 0))
    told = forecast_month_end(ask, AMIRA, where, datetime(2026, 10, 5, 23, tzinfo=UTC))
    assert (told.spent_nano, told.history_days, told.forecast, told.unpriced_calls) == (12, 4, None, 1)
    assert load_daily_history(ask, AMIRA, StatisticsFilter(apps=("none",)), date(2026, 1, 1), TODAY).costs == ()
    ask.close()
