"""Unusual days are those that a plain reading of the rule finds, with who moved."""

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.db.engine import Store
from lib.statistics.anomalies import find_unusual_days, mark_unusual_days
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Dimension
from lib.statistics.queries import Statistics
from lib.statistics.series import History
from tests.statistics.ledger_rows import AMIRA, call, write

pytestmark = pytest.mark.feature("COST-7")
FIRST, USD = date(2026, 7, 1), 10**9
COSTS = st.lists(st.sampled_from([None, 0, 100, 110, 120, 90, 500, 1000]), min_size=1, max_size=140)


@settings(max_examples=200)
@given(costs=COSTS)
def test_marks_are_those_of_the_rule(costs: list[int | None]) -> None:
    expected = []
    for n, cost in enumerate(costs):
        before = [c for c in (costs[n - 7 * week] for week in range(1, 9) if n - 7 * week >= 0) if c is not None]
        if cost is None or len(before) < 4:
            continue
        usual = median(before)
        spread = max(1.4826 * median([abs(c - usual) for c in before]), 0.1 * usual)
        month = [c for c in costs[max(0, n - 28) : n] if c is not None]
        if abs(cost - usual) > 4 * spread and abs(cost - usual) > usual / 2 and abs(cost - usual) > median(month) / 4:
            expected.append((FIRST + timedelta(days=n), cost, round(usual)))
    assert [
        (one.day, one.cost_nano, one.usual_nano) for one in mark_unusual_days(History(FIRST, tuple(costs)))
    ] == expected


def test_ordinary_noise_and_weekends_are_not_marked() -> None:
    draw = random.Random(3)
    days = [FIRST + timedelta(days=n) for n in range(112)]
    costs = tuple(round((5 if day.weekday() > 4 else 100) * USD * draw.uniform(0.85, 1.15)) for day in days)
    assert mark_unusual_days(History(FIRST, costs)) == []


@pytest.fixture
def ask(store: Store, tmp_path: Path) -> Statistics:
    """Ten weeks of two models; on 8 September one app's use of one model was sixteen times the usual."""
    rows = []
    for n in range(72):
        noon = datetime(2026, 7, 1, 12, tzinfo=UTC) + timedelta(days=n)
        odd = noon.date() == date(2026, 9, 8)
        rows += [
            call(noon, model="gpt-5.1", app="bot", user_id="u1", cost_nano_usd=(1600 if odd else 100) * USD),
            call(noon, model="gpt-5-mini", app="web", user_id="u2", cost_nano_usd=50 * USD),
            call(noon, model="unpriced", app="web", user_id="u2", cost_nano_usd=None),
        ]
    rows = [row for row in rows if row["started_at"].date() != date(2026, 9, 9) or row["app"] == "web"]
    write(store, *rows)
    return Statistics(store, tmp_path)


def test_a_mark_says_which_model_app_and_person_moved(ask: Statistics) -> None:
    now = datetime(2026, 9, 12, 12, tzinfo=UTC)
    up, down, silent = find_unusual_days(ask, AMIRA, StatisticsFilter(), date(2026, 8, 20), date(2026, 9, 30), now)
    assert (up.day, up.cost_nano, up.usual_nano, up.times) == (date(2026, 9, 8), 1650 * USD, 150 * USD, 11)
    assert {(m.dimension, m.value) for m in up.movers} == {
        (Dimension.MODEL, "gpt-5.1"),
        (Dimension.APP, "bot"),
        (Dimension.USER, "u1"),
    }
    assert {(m.usual_nano, m.moved_nano, m.times) for m in up.movers} == {(100 * USD, 1500 * USD, 16)}
    assert (down.day, down.cost_nano) == (date(2026, 9, 9), 50 * USD)
    assert {m.moved_nano for m in down.movers} == {-100 * USD}
    assert (silent.day, silent.cost_nano) == (date(2026, 9, 11), 0)  # today, the 12th, has only begun
    ask.close()


def test_filters_hold_and_calm_days_say_nothing(ask: Statistics) -> None:
    now = datetime(2026, 9, 12, 12, tzinfo=UTC)
    only = StatisticsFilter(apps=("web",))
    assert find_unusual_days(ask, AMIRA, only, date(2026, 8, 20), date(2026, 9, 10), now) == ()
    assert find_unusual_days(ask, AMIRA, StatisticsFilter(), date(2026, 8, 20), date(2026, 9, 7), now) == ()
    assert find_unusual_days(ask, AMIRA, StatisticsFilter(apps=("no",)), date(2026, 8, 20), date(2026, 9, 7), now) == ()
    ask.close()
