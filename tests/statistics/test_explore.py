"""Crossed figures: exact sums, totals that are asked for where they can't be summed, charts that are valid, FOCUS."""

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path

import altair as alt
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from lib.access.permissions import OPERATOR
from lib.db.engine import Store
from lib.demo import Demo
from lib.errors import InvalidInput
from lib.money import convert_nano_to_usd
from lib.statistics import explore, export, focus
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Dimension, Measure, Shape, Tag, Unit, parse_axis
from lib.statistics.periods import Cycle, PeriodStep
from lib.statistics.queries import Statistics

# Feature level Mandatory in version 1.2
FOCUS_MANDATORY = (
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd"),
    *("BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd"),
    *("ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity"),
    *("PricingUnit", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName"),
)
WHERE = StatisticsFilter(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC))


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Statistics]:
    folder: Path = tmp_path_factory.mktemp("explore")
    store = Store(f"sqlite:///{folder / 'l.db'}")
    from lib.db import schema

    schema.upgrade(store)
    Demo(store).load(OPERATOR, calls=3000)
    made = Statistics(store, folder / "statistics")
    yield made
    made.close()
    store.dispose()


def named(axis: object, value: object) -> str:
    return explore.format_axis_label(axis, value)  # type: ignore[arg-type]


@pytest.mark.feature("COST-5")
@pytest.mark.parametrize("measure", list(Measure))
def test_every_measure_crosses_and_its_totals_are_those_of_the_whole(ask: Statistics, measure: Measure) -> None:
    found = explore.cross(ask, OPERATOR, WHERE, Dimension.PROVIDER, PeriodStep.MONTH, measure)
    table = explore.build_table(found, named)
    with_mark = list(table.columns)
    if measure is Measure.COST:  # some of these calls have no price
        assert with_mark.pop() == explore.UNPRICED
        table = table[with_mark]
    last = table.iloc[-1]
    whole = ask.pivot(OPERATOR, WHERE, [], [measure])[measure.value].iloc[0]
    assert last.iloc[-1] == explore.convert_exactly(whole, measure.unit)
    if measure.is_sum:
        body = table.iloc[:-1]
        for head in table.columns[1:]:
            cells = [value for value in body[head] if value is not None]
            assert sum(cells, start=Decimal(0) if measure.unit is Unit.NANO_USD else 0) == (last[head] or 0)
    without = [head for head in explore.build_table(found, named, totals=False).columns if head != explore.UNPRICED]
    assert without == list(table.columns[:-1])


@pytest.mark.feature("COST-5")
@pytest.mark.parametrize(("shape", "across"), list(product(list(Shape)[1:], [PeriodStep.DAY, Dimension.APP])))
def test_every_shape_is_a_chart_that_vega_takes(ask: Statistics, shape: Shape, across: object) -> None:
    for measure in (Measure.COST, Measure.LATENCY_P95, Measure.ERROR_RATE):
        found = explore.cross(ask, OPERATOR, WHERE, Dimension.MODEL, across, measure)  # type: ignore[arg-type]
        frame = found.cells.assign(row_name=found.cells["row"].map(str), column_name=found.cells["column"].map(str))[
            ["row_name", "column_name", "value"]
        ]
        chart = explore.draw(
            frame, "Model", "Day", measure.unit, shape, stacks=measure.is_sum, is_time=across is PeriodStep.DAY
        )
        assert isinstance(alt.Chart.from_dict(chart.to_dict()), alt.TopLevelMixin)


@pytest.mark.feature("COST-5")
def test_rows_stand_by_size_and_time_in_its_order(ask: Statistics) -> None:
    by_cost = explore.cross(ask, OPERATOR, WHERE, Dimension.APP, None, Measure.COST)
    costs = [by_cost.row_totals[row] for row in by_cost.rows if by_cost.row_totals[row] is not None]
    assert costs == sorted(costs, reverse=True)
    assert list(explore.build_table(by_cost, named).columns) == ["App", "Total USD", explore.UNPRICED]
    week = explore.cross(ask, OPERATOR, WHERE, Cycle.WEEKDAY, Cycle.HOUR_OF_DAY, Measure.CALLS)
    assert [named(Cycle.WEEKDAY, day) for day in week.rows][:2] == ["Monday", "Tuesday"]
    assert week.columns == sorted(week.columns)
    assert parse_axis("tag.team") == Tag("team")
    assert parse_axis("tool") == parse_axis("tag.tool")
    with pytest.raises(InvalidInput):
        parse_axis("colour")


@pytest.mark.feature("COST-6")
def test_focus_holds_the_money_and_the_tokens_of_the_range(ask: Statistics) -> None:
    frame = focus.build_frame(ask, OPERATOR, WHERE)
    whole = ask.pivot(OPERATOR, WHERE, [], [Measure.COST, Measure.TOKENS]).iloc[0]
    assert sum(cost for cost in frame["BilledCost"] if cost is not None) == convert_nano_to_usd(int(whole["cost"]))
    models = ask.pivot(OPERATOR, WHERE, [Dimension.MODEL], [Measure.COST, Measure.TOKENS])
    priced = models[models["cost"].notna()]
    in_tokens = frame[frame["ConsumedUnit"] == "Tokens"]
    assert set(frame["SkuId"]) == set(priced["model"])
    assert sum(in_tokens["ConsumedQuantity"]) == priced["tokens"].sum()
    assert focus.count_unpriced_calls(ask, OPERATOR, WHERE) > sum(frame["x_UnpricedCalls"])
    for column in FOCUS_MANDATORY:
        assert column in frame
        assert column == "ChargeClass" or frame[column].notna().all()
    assert set(frame["BillingCurrency"]) == {"USD"}
    end = WHERE.end
    assert end is not None
    nothing = replace(WHERE, start=end, end=end + timedelta(days=1))
    empty = focus.build_frame(ask, OPERATOR, nothing)
    schemas = [pq.read_schema(io.BytesIO(export.encode_parquet(part))) for part in (frame, empty)]
    assert schemas[0].equals(schemas[1])  # files of months are read together
    assert {str(schemas[0].field(name).type) for name in map(str, frame) if name.endswith("Cost")} == {
        "decimal128(38, 9)"
    }
    first = frame.iloc[0]
    assert (
        first["BillingPeriodStart"]
        <= first["ChargePeriodStart"]
        < first["ChargePeriodEnd"]
        <= first["BillingPeriodEnd"]
    )
