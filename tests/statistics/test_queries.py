"""Sums over days are the sum over the range and the ledger's own, in every zone; scopes and unknown costs hold."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from sqlalchemy import func, select

from lib.access.permissions import Actor, Role, make_actor
from lib.db.engine import Store
from lib.db.tables import usage_logs
from lib.errors import InvalidInput
from lib.money import convert_nano_to_usd
from lib.statistics.filters import Dimension, Measure, StatisticsFilter
from lib.statistics.periods import PeriodStep, list_buckets
from lib.statistics.queries import Statistics
from tests.statistics.ledger_rows import AMIRA, NOON, call, write

ZONES = ["UTC", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
JONAS = Actor("00000000-0000-7000-8000-00000000000b", "jonas", Role.DEVELOPER)  # holds no permission


@pytest.fixture
def year(store: Store) -> Store:
    """Rows all over a year, thick around changes of the clock, with costs that no float could hold."""
    dice = random.Random(7)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    changes = [datetime(2026, *day, tzinfo=UTC) for day in ((3, 29, 1), (10, 25, 1), (4, 4, 15), (4, 5, 3))]
    moments = [start + timedelta(seconds=dice.random() * 365 * 86400) for _ in range(1500)]
    moments += [change + timedelta(seconds=dice.uniform(-7200, 7200)) for change in changes for _ in range(150)]
    rows = [
        call(
            moment,
            provider=dice.choice(["openai", "anthropic"]),
            cost_nano_usd=dice.choice([None, 0, dice.randrange(10**15), 9_007_199_254_740_993]),
            is_final=dice.random() > 0.1,
        )
        for moment in moments
    ]
    write(store, *rows)
    return store


@pytest.mark.feature("COST-3")
def test_days_add_up_to_the_range_and_to_the_ledger_in_every_zone(year: Store) -> None:
    statistics = Statistics(year)
    with year.read() as connection:
        ledger = sum(cost for cost in connection.scalars(select(usage_logs.c.cost_nano_usd)) if cost is not None)
        calls = connection.execute(select(func.count()).where(usage_logs.c.is_final)).scalar_one()
    start, end = datetime(2025, 12, 30, tzinfo=UTC), datetime(2027, 1, 3, tzinfo=UTC)
    for zone in map(ZoneInfo, ZONES):
        where = StatisticsFilter(start, end, zone)
        assert statistics.totals(AMIRA, where).cost_nano_usd == ledger
        for step in PeriodStep:
            made = statistics.over_time(AMIRA, where, step, Measure.COST, [Dimension.PROVIDER])
            assert sum(int(value) for value in made.value.dropna()) == ledger, (zone, step)
            assert set(made.bucket) <= {bucket.key for bucket in list_buckets(start, end, step, zone)}
            assert statistics.trend(AMIRA, where, step).calls.sum() == calls


@pytest.mark.feature("COST-3")
def test_a_bucket_holds_exactly_the_rows_of_its_stretch(year: Store) -> None:
    statistics, zone = Statistics(year), ZoneInfo("Australia/Lord_Howe")  # half an hour back on 5 April
    start, end = datetime(2026, 4, 3, 13, tzinfo=UTC), datetime(2026, 4, 6, 13, 30, tzinfo=UTC)
    where = StatisticsFilter(start, end, zone)
    for step in (PeriodStep.HOUR, PeriodStep.DAY):
        trend = statistics.trend(AMIRA, where, step).set_index("bucket").cost_nano_usd
        for bucket in list_buckets(start, end, step, zone):
            alone = statistics.totals(AMIRA, StatisticsFilter(bucket.start, bucket.end, zone)).cost_nano_usd
            assert trend.get(bucket.key, pd.NA) is pd.NA if alone is None else trend[bucket.key] == alone


@pytest.mark.feature("COST-3")
def test_requests_are_final_rows_and_money_is_every_row(store: Store) -> None:
    tried = call(status="error", is_final=False, cost_nano_usd=300, first_token_ms=None)
    write(store, tried, call(call_id=tried["call_id"], attempt=2, cost_nano_usd=700), call(status="cancelled"))
    totals = Statistics(store).totals(AMIRA, StatisticsFilter())
    assert (totals.calls, totals.retries, totals.cost_nano_usd) == (2, 1, 1_001_000)
    assert totals.wasted_nano_usd == 1_000_300
    assert totals.error_rate == 0


@pytest.mark.feature("COST-1")
def test_what_has_no_price_stays_unknown_and_is_counted(store: Store) -> None:
    unpriced: dict[str, Any] = {
        "provider": "custom",
        "model": "acme-chat-2",
        "cost_nano_usd": None,
        "cost_status": "unpriced",
    }
    write(store, call(**unpriced), call(**unpriced), call(), call(provider="local", cost_nano_usd=0))
    statistics = Statistics(store)
    costs = statistics.by_provider(AMIRA, StatisticsFilter()).set_index("provider").cost_nano_usd
    assert costs["custom"] is pd.NA
    assert costs["local"] == 0
    assert statistics.totals(AMIRA, StatisticsFilter()).unpriced_calls == 2


@pytest.mark.feature("ACC-1")
def test_without_the_permission_only_the_own_calls_are_in_any_answer(store: Store) -> None:
    write(store, call(cost_nano_usd=5), call(user_id=JONAS.user_id, cost_nano_usd=7, app="his"))
    statistics, everything = Statistics(store), StatisticsFilter()
    assert statistics.totals(AMIRA, everything).cost_nano_usd == 12
    assert statistics.totals(JONAS, everything).cost_nano_usd == 7
    assert statistics.totals(JONAS, StatisticsFilter(users=(str(AMIRA.user_id),))).calls == 0
    assert statistics.choices(JONAS, Dimension.APP) == ["his"]
    assert statistics.stats_table(JONAS, ["user"]).user.tolist() == [JONAS.user_id]
    assert statistics.choices(make_actor("x", "x", Role.ADMINISTRATOR), Dimension.APP) == ["his", "tests"]


@pytest.mark.feature("COST-4")
def test_filters_combine_and_values_are_never_sql(store: Store) -> None:
    write(store, call(app="a"), call(app="b", provider="groq"), call(app="b'; DROP TABLE calls; --"))
    statistics = Statistics(store)
    assert statistics.totals(AMIRA, StatisticsFilter(apps=("a", "b"))).calls == 2
    assert statistics.totals(AMIRA, StatisticsFilter(apps=("a", "b"), providers=("groq",))).calls == 1
    assert statistics.totals(AMIRA, StatisticsFilter(apps=("b'; DROP TABLE calls; --",))).calls == 1
    assert statistics.totals(AMIRA, StatisticsFilter(start=NOON + timedelta(seconds=1))).calls == 0
    with pytest.raises(InvalidInput, match="no dimension"):
        statistics.stats_table(AMIRA, ["provider) FROM calls; --"])


@pytest.mark.feature("COST-3")
def test_the_table_for_outside_readers_keeps_its_columns_and_exact_dollars(store: Store) -> None:
    unknown = call(provider="x", cost_nano_usd=None)
    write(store, call(cost_nano_usd=1), call(cost_nano_usd=9_007_199_254_740_993), unknown)
    table = Statistics(store).stats_table(AMIRA, ["provider", "model"])
    tokens = ["prompt_tokens", "completion_tokens", "total_tokens"]
    assert list(table) == ["provider", "model", "calls", *tokens, "cost_usd", "unpriced_calls"]
    assert table.cost_usd.tolist() == [convert_nano_to_usd(9_007_199_254_740_994), None]
    assert isinstance(table.cost_usd[0], Decimal)
    assert table.unpriced_calls.tolist() == [0, 1]


@pytest.mark.feature("COST-3")
def test_an_answer_is_kept_until_the_ledger_changes(store: Store) -> None:
    statistics = Statistics(store)
    write(store, call())
    first = statistics.by_model(AMIRA, StatisticsFilter())
    first["calls"] = 0  # what a page does to its frame is its own matter
    assert statistics.by_model(AMIRA, StatisticsFilter()).calls.sum() == 1
    write(store, call())
    assert statistics.by_model(AMIRA, StatisticsFilter()).calls.sum() == 2


@pytest.mark.feature("COST-3")
def test_top_models_percentiles_and_cross_tab(store: Store) -> None:
    write(store, *(call(first_token_ms=n, model="slow" if n > 50 else "fast", cost_nano_usd=n) for n in range(1, 101)))
    statistics, everything = Statistics(store), StatisticsFilter()
    assert statistics.top_models(AMIRA, everything, Measure.COST, 1).model.tolist() == ["slow"]
    assert statistics.totals(AMIRA, everything).first_token_p50_ms == pytest.approx(50.5)
    assert statistics.totals(AMIRA, everything).first_token_p95_ms == pytest.approx(95.05)
    cells = statistics.cross_tab(AMIRA, everything, Dimension.MODEL, Dimension.APP, Measure.CALLS)
    assert cells.values.tolist() == [["fast", "tests", 50], ["slow", "tests", 50]]
