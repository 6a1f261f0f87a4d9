"""A sum of costs of which one is not, or not wholly, known is shown and exported as the least it can be."""

from typing import Any

import pytest

from lib.access.permissions import OPERATOR
from lib.budgets.budgets import Budgets
from lib.budgets.holds import HOLD_LASTS, Want, reserve_many, settle_many
from lib.budgets.refusal import BudgetRefusal
from lib.clock import make_id
from lib.db.engine import Store
from lib.money import format_sum
from lib.statistics import explore, tables
from lib.statistics.charts import figure_charts
from lib.statistics.export import encode_csv
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Dimension, Measure
from lib.statistics.periods import PeriodStep
from lib.statistics.queries import Statistics
from tests.budgets.budget_rig import FACTS, NOW
from tests.statistics.ledger_rows import AMIRA, call, write

pytestmark = pytest.mark.feature("COST-13")
EVERYTHING = StatisticsFilter()


@pytest.fixture
def ask(store: Store) -> Statistics:
    write(
        store,
        call(app="whole"),
        call(app="partly"),
        call(app="unknown", cost_status="unpriced", cost_nano_usd=None),
    )
    write(store, call(app="partly", cost_status="partial", cost_nano_usd=500_000, fees_nano_usd=100_000))
    return Statistics(store)


@pytest.mark.parametrize(
    ("nano", "unknown", "shown"),
    [
        (1_500_000_000, 0, "$1.50"),
        (1_500_000_000, 2, "≥ $1.50"),
        (0, 1, "≥ $0"),
        (0, 0, "$0"),
        (None, 3, "—"),
    ],
)
def test_a_sum_says_that_it_is_the_least(nano: int | None, unknown: int, shown: str) -> None:
    assert format_sum(nano, unknown) == shown


def test_an_estimate_of_which_a_part_is_missing_is_the_least() -> None:
    assert format_sum(1_500_000_000, 0, estimated=True) == "≈ $1.50"
    assert format_sum(1_500_000_000, 1, estimated=True) == "≥ $1.50"


def test_partly_known_costs_are_in_sums_and_among_the_unpriced(ask: Statistics) -> None:
    totals = ask.totals(AMIRA, EVERYTHING)
    assert (totals.cost_nano_usd, totals.unpriced_calls) == (2_500_000, 2)
    by_app = ask.by(AMIRA, EVERYTHING, Dimension.APP).set_index("app")
    assert dict(by_app.unpriced_calls) == {"whole": 0, "partly": 1, "unknown": 1}
    fees = ask.pivot(AMIRA, EVERYTHING, [Dimension.APP], [Measure.FEES]).set_index("app")
    assert int(fees.fees["partly"]) == 100_000


def test_explores_table_and_its_file_count_what_a_sum_of_costs_leaves_out(ask: Statistics) -> None:
    found = explore.cross(ask, AMIRA, EVERYTHING, Dimension.APP, Dimension.MODEL, Measure.COST)
    table = explore.build_table(found, explore.format_axis_label)
    assert list(table.columns) == ["App", "gpt-5.1 USD", "Total USD", explore.UNPRICED]
    assert dict(zip(table["App"], table[explore.UNPRICED], strict=True)) == {
        **{"partly": 1, "whole": 0, "unknown": 1},
        explore.TOTAL: 2,
    }
    assert encode_csv(table).decode().splitlines()[1] == "partly,0.0015,0.0015,1"
    by_calls = explore.cross(ask, AMIRA, EVERYTHING, Dimension.APP, None, Measure.CALLS)
    assert explore.UNPRICED not in explore.build_table(by_calls, explore.format_axis_label).columns


def labels(chart: Any) -> set[str]:
    """The figures that a chart's marks tell."""
    return {str(row["label"]) for rows in chart.to_dict()["datasets"].values() for row in rows if "label" in row}


def test_charts_mark_a_sum_that_is_not_whole(ask: Statistics) -> None:
    models = figure_charts.build_model_chart(ask.top_models(AMIRA, EVERYTHING, Measure.COST), Measure.COST)
    assert labels(models) == {"≥ $0.0025"}
    days = ask.over_time(AMIRA, EVERYTHING, PeriodStep.DAY, Measure.COST, [Dimension.PROVIDER])
    assert labels(figure_charts.build_time_chart(days, [], PeriodStep.DAY, Measure.COST, Dimension.PROVIDER)) == {
        "≥ $0.0025"
    }
    cells = ask.cross_tab(AMIRA, EVERYTHING, Dimension.APP, Dimension.PROVIDER, Measure.COST)
    cells = cells.assign(row_name=cells["row"], column_name=cells["column"])
    drawn = figure_charts.build_cross_tab(cells, Dimension.APP, Dimension.PROVIDER, Measure.COST)
    assert labels(drawn) == {"≥ $0.0015", "$0.0010"}


def test_the_table_of_models_marks_the_total_and_every_model(ask: Statistics) -> None:
    table = tables.build_model_table(ask.by_model(AMIRA, EVERYTHING))
    shown = tables.style_with_total(table, ask.totals(AMIRA, EVERYTHING)).data
    assert list(shown.least) == ["≥", "≥"]


def test_a_budgets_window_counts_what_is_known_and_that_more_was_charged(store: Store) -> None:
    budgets, log_id = Budgets(store), make_id()
    budget = budgets.create(OPERATOR, scope="app", subject="tests", period="month", limit_nano=10**9, now=NOW).budget
    with store.write() as connection:
        reserve_many(connection, [Want(log_id, FACTS, 5_000)], NOW)
    with store.write() as connection:
        settle_many(connection, {log_id: 900}, NOW, partly_priced=frozenset([log_id]))
    window = budgets.get(OPERATOR, budget.id, NOW).now
    assert (window.spent_nano, window.unpriced_calls) == (900, 1)
    write(store, call(NOW, cost_status="partial", cost_nano_usd=700))
    swept_id = make_id()
    with store.write() as connection:
        reserve_many(connection, [Want(swept_id, FACTS, 5_000)], NOW)
    write(store, call(NOW, id=swept_id, cost_status="partial", cost_nano_usd=300))
    assert budgets.sweep(NOW + 2 * HOLD_LASTS) == 1
    assert budgets.get(OPERATOR, budget.id, NOW).now.unpriced_calls == 2
    with store.write() as connection:
        (refusal,) = reserve_many(connection, [Want(make_id(), FACTS, 2 * 10**9)], NOW)
    assert isinstance(refusal, BudgetRefusal)
    assert refusal.why.startswith("≥ <$0.0001 of $1.00 is spent")
    recounted = budgets.recount(OPERATOR, budget.id, NOW).now
    assert (recounted.spent_nano, recounted.unpriced_calls) == (1_000, 2)
