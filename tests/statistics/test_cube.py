"""Any two axes crossed with any measure agree with figures made in plain Python."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from sqlalchemy import delete

from lib.db.engine import Store
from lib.db.tables import usage_logs
from lib.errors import InvalidInput
from lib.statistics.copy import rollup
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Axis, Dimension, Measure, Tag
from lib.statistics.periods import Cycle, PeriodStep
from lib.statistics.queries import Statistics
from tests.statistics.ledger_rows import AMIRA, NOON, call, change, raise_epoch, write

AXES: list[Axis] = [*Dimension, *PeriodStep, *Cycle, Tag("team"), Tag('o\'dd "name"/~$.*')]


@pytest.mark.feature("COST-3")
def test_every_axis_crosses_with_every_other_and_every_measure_with_each(store: Store) -> None:
    rows = [call(NOON + timedelta(hours=n), tags={"team": f"t{n % 3}"}, model=f"m{n % 4}") for n in range(40)]
    write(store, *rows)
    statistics, where = Statistics(store), StatisticsFilter(zone=ZoneInfo("Asia/Kathmandu"))
    for axis in AXES:
        for other in AXES:
            if axis != other:
                cells = statistics.cross_tab(AMIRA, where, axis, other, Measure.CALLS)
                assert cells.value.sum() == 40, (axis, other)
    for measure in Measure:
        frame = statistics.pivot(AMIRA, where, [Cycle.WEEKDAY, Dimension.MODEL], [measure])
        assert list(frame) == ["weekday", "model", measure.value]


@pytest.mark.feature("COST-3")
def test_measures_say_what_they_say(store: Store) -> None:
    first = call(status="error", is_final=False, cost_nano_usd=300, completion_tokens=None, total_tokens=None)
    rows = [
        first,
        call(call_id=first["call_id"], attempt=2, cost_nano_usd=701, total_tokens=1000, user_id="u2"),
        call(cost_nano_usd=None, cost_status="unpriced", execution_time_ms=3000, first_token_ms=1000, total_tokens=5),
        call(status="timeout", cost_nano_usd=0, saved_nano_usd=9, execution_time_ms=None, first_token_ms=None),
    ]
    write(store, *rows)
    found = Statistics(store).pivot(AMIRA, StatisticsFilter(), [], list(Measure)).iloc[0]
    assert (found.calls, found.retries, found.failed, found.unpriced, found.users) == (3, 1, 1, 1, 2)
    assert found.questions == 3
    assert (found.cost, found.saved, found.wasted) == (1001, 9, 300)
    assert found.cost_per_call == 501  # 1001 over two calls with a price: 500.5, rounded up
    assert found.cost_per_1k_tokens == round(1001 * 1000 / 1120)
    assert found.tokens_per_second == pytest.approx(40 * 1000 / (800 + 2000))
    assert found.error_rate == pytest.approx(1 / 3)
    assert found.latency_p50 == 2000
    assert found.first_token_p90 == pytest.approx(840)
    assert found.reasoning_tokens is pd.NA


@pytest.mark.feature("COST-3")
def test_tags_split_and_narrow_and_their_names_are_no_paths(store: Store) -> None:
    write(store, call(tags={"a/b": "x", "a": {"b": "no"}}), call(tags={"a/b": "y", "$": 3}), call())
    statistics = Statistics(store)
    split = statistics.pivot(AMIRA, StatisticsFilter(), [Tag("a/b")], [Measure.CALLS])
    assert split.astype(object).where(split.notna(), None).values.tolist() == [[None, 1], ["x", 1], ["y", 1]]
    assert statistics.totals(AMIRA, StatisticsFilter(tags=(("a/b", "y"), ("$", "3")))).calls == 1
    assert statistics.totals(AMIRA, StatisticsFilter(tags=(("a/b", "*"),))).calls == 0
    assert statistics.stats_table(AMIRA, ["tag.a/b", "weekday"]).calls.sum() == 3
    with pytest.raises(InvalidInput, match="no dimension"):
        statistics.stats_table(AMIRA, ["tag."])


@pytest.mark.feature("COST-4")
def test_a_range_beside_another(store: Store) -> None:
    write(store, call(app="old", cost_nano_usd=5), call(NOON + timedelta(days=7), app="new"))
    write(store, call(app="both"), call(NOON + timedelta(days=7), app="both", cost_nano_usd=None))
    border = NOON + timedelta(days=3)
    now, before = StatisticsFilter(start=border), StatisticsFilter(end=border)
    frame = Statistics(store).compared(AMIRA, now, before, [Dimension.APP], [Measure.COST, Measure.CALLS])
    found = frame.set_index("app")
    assert list(found.loc["both"]) == [pd.NA, 1, 1_000_000, 1]
    assert found.loc["old", "cost_before"] == 5
    assert found.loc["old", "cost"] is pd.NA


@pytest.mark.feature("COST-3")
def test_a_roll_up_follows_prices_and_deletions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollup, "LEAST_ROWS", 0)
    rows = [call(NOON + timedelta(days=n), cost_nano_usd=n, first_token_ms=n) for n in range(60)]
    write(store, *rows)
    statistics, where = Statistics(store), StatisticsFilter(NOON - timedelta(days=9), None, ZoneInfo("Europe/Berlin"))
    assert statistics.totals(AMIRA, where).cost_nano_usd == sum(range(60))
    change(store, rows[5]["id"], cost_nano_usd=None)
    change(store, rows[59]["id"], cost_nano_usd=1000)
    found = statistics.totals(AMIRA, where)
    assert (found.cost_nano_usd, found.unpriced_calls) == (sum(range(60)) - 5 - 59 + 1000, 1)
    with store.write() as connection:
        connection.execute(delete(usage_logs).where(usage_logs.c.id.in_([row["id"] for row in rows[:30]])))
    raise_epoch(store)
    found = statistics.totals(AMIRA, where)
    assert (found.calls, found.cost_nano_usd) == (30, sum(range(30, 60)) - 59 + 1000)
    assert found.first_token_p50_ms == 44.5
    assert statistics.pivot(AMIRA, where, [PeriodStep.DAY], [Measure.CALLS]).calls.tolist() == [1] * 30


@pytest.mark.feature("COST-11")
def test_what_the_page_asks_of_many_rows_reads_their_days_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollup, "LEAST_ROWS", 0)
    rows = [call(NOON + timedelta(hours=n), model=f"m{n % 4}", first_token_ms=n, app=f"a{n % 3}") for n in range(500)]
    write(store, *rows)
    statistics, where = Statistics(store), StatisticsFilter(zone=ZoneInfo("Europe/Berlin"))

    def page() -> list[pd.DataFrame]:
        statistics._answers.clear()
        return [
            statistics.pivot(AMIRA, where, [], [Measure.COST, Measure.CALLS, Measure.LATENCY_P95, Measure.UNPRICED]),
            statistics.trend(AMIRA, where, PeriodStep.WEEK),
            statistics.over_time(AMIRA, where, PeriodStep.DAY, Measure.COST, [Dimension.PROVIDER]),
            statistics.top_models(AMIRA, where, Measure.COST),
            statistics.cross_tab(AMIRA, where, Dimension.PROVIDER, Dimension.APP, Measure.COST),
            statistics.by_model(AMIRA, where),
        ]

    expected = page()
    assert expected[0].calls[0] == 500
    statistics._mirror._connection.execute("DELETE FROM calls")  # the copy's rows: a question that reads them shows it
    for before, after in zip(expected, page(), strict=True):
        pd.testing.assert_frame_equal(before, after)
    assert statistics.pivot(AMIRA, where, [Dimension.USER], [Measure.CALLS]).empty, "people are asked of the rows"
