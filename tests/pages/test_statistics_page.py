"""The Statistics page: the address is its state, figures are the ledger's, and a click leads to the rows behind it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from lib.access.audit import AuditCriteria
from lib.access.permissions import OPERATOR, Role
from lib.activity.call_filter import ActivityFilter
from lib.settings import Settings
from lib.statistics.filters import Dimension, Measure
from lib.statistics.measures import Tag
from lib.statistics.periods import Cycle, PeriodStep, ReportPeriod
from lib.ui import session
from lib.ui.statistics import explore, models_table
from lib.ui.statistics.statistics_view import StatisticsView
from tests.activity.activity_rig import log
from tests.pages.visitor import Visitor, press, run, words

pytestmark = [pytest.mark.feature("COST-4"), pytest.mark.filterwarnings("default")]


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    yield visitor
    visitor.close()


@pytest.fixture
def year(visitor: Visitor) -> Visitor:
    visitor.services.demo.load(OPERATOR, 3000)
    return visitor


def metrics(page: Any) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.metric}


def test_an_empty_ledger_says_what_will_be_here(visitor: Visitor) -> None:
    assert "Nothing to count yet" in words(visitor.open("statistics"))


def test_six_figures_the_table_and_what_is_missing(year: Visitor) -> None:
    page = year.open("statistics", period="12m")
    assert list(metrics(page)) == ["Cost", "Calls", "Tokens", "First token, p95", "Error rate", "Saved by cache"]
    assert "compared with" in words(page)
    table = page.dataframe[0].value
    assert table.model.iloc[0].startswith("Total, ")
    assert table.calls.iloc[0] == table.calls.iloc[1:].sum()
    assert table.cost_usd.iloc[0] == pytest.approx(table.cost_usd.iloc[1:].sum())
    assert "Cost per month by provider" in words(page)


def test_controls_write_the_address_and_the_address_sets_the_controls(year: Visitor) -> None:
    page = year.open("statistics", period="12m", measure="tokens", by="model", app="support-bot")
    assert "Tokens per month by model" in words(page)
    assert page.multiselect(key="statistics-apps").value == ["support-bot"]
    page.multiselect(key="statistics-providers").set_value(["openai"])
    run(page)
    assert dict(page.query_params) == {
        "period": "12m", "measure": "tokens", "by": "model", "app": "support-bot", "provider": "openai",
    }  # fmt: skip
    assert set(page.dataframe[0].value.provider) == {"", "openai"}
    page = press(page, "Clear")
    assert dict(page.query_params) == {"period": "12m", "measure": "tokens", "by": "model"}


def test_what_matches_nothing_says_so(year: Visitor) -> None:
    page = year.open("statistics", provider="nobody")
    assert "Nothing matches" in words(page)
    page = press(page, "Clear filters")
    assert "Nothing matches" not in words(page)


def test_nonsense_in_the_address_is_left_out(year: Visitor) -> None:
    page = year.open("statistics", period="yesterday", step="second", by="password", rows="x", **{"from": "0000-99-99"})
    assert "Cost per day by provider" in words(page)


def test_a_developer_without_calls_still_sees_the_teams(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = Visitor(settings, monkeypatch, Role.ADMINISTRATOR)
    visitor.services.demo.load(OPERATOR, 500)
    assert metrics(visitor.open("statistics", period="12m"))["Calls"] != "0"
    visitor.close()


@pytest.mark.parametrize(
    "view",
    [
        StatisticsView(),
        StatisticsView(ReportPeriod.CUSTOM, date(2026, 10, 1), date(2026, 10, 31), providers=("openai", "x y&z")),
        StatisticsView(
            ReportPeriod.DAYS_7, measure=Measure.CALLS, by=Dimension.MODEL, step=PeriodStep.HOUR, users=("u",)
        ),
        StatisticsView(
            ReportPeriod.YEAR, rows=Dimension.USER, columns=Dimension.STATUS, models=("a/b:c",), apps=("é",)
        ),
        StatisticsView(tags=("team=blue", "a=b=c"), api_keys=("k",), configurations=("c",), error_kinds=("budget",)),
    ],
)
def test_a_view_survives_the_address(view: StatisticsView) -> None:
    assert StatisticsView.from_query(view.to_query()) == view


def test_the_rows_behind_a_mark_are_its_stretch_and_its_values() -> None:
    view = StatisticsView(apps=("support-bot",), providers=("openai", "groq"))
    start, end = datetime(2026, 10, 22, tzinfo=UTC), datetime(2026, 10, 23, tzinfo=UTC)
    asked = ActivityFilter.from_query(view.rows_behind(start, end, provider="groq", status="timeout"), ZoneInfo("UTC"))
    expected = ActivityFilter(start=start, end=end, apps=("support-bot",), providers=("groq",), statuses=("timeout",))
    assert asked == expected


def test_an_address_of_the_activity_log_shows_the_same_days() -> None:
    zone, october = (
        ZoneInfo("Europe/Berlin"),
        StatisticsView(ReportPeriod.CUSTOM, date(2026, 10, 1), date(2026, 10, 31)),
    )
    found = october.range(zone, datetime(2026, 11, 22, tzinfo=UTC))
    assert StatisticsView.from_query(october.rows_behind(found.start, found.end), zone) == october


@pytest.mark.feature("ACC-3")
def test_a_file_of_figures_is_noted_when_it_is_taken(visitor: Visitor) -> None:
    actor = OPERATOR.with_origin("page 192.0.2.7")
    note = partial(visitor.services.audit.note_export, actor, "statistics.export", filter={"app": ["a"]})
    table = pd.DataFrame({"model": ["m", "n"]})
    assert models_table.write_file(table, "csv", note) == b"model\nm\nn\n"
    (entry,) = visitor.services.audit.page(OPERATOR, AuditCriteria(actions=("statistics.export",))).entries
    assert (entry.came_from, entry.subject) == ("page 192.0.2.7", "csv")
    assert entry.detail == {"rows": 2, "filter": {"app": ["a"]}}


@pytest.mark.feature("CALL-7")
def test_custom_metrics_stand_below_with_a_course_and_a_file(visitor: Visitor) -> None:
    for ago, rating in ((60, 4), (2 * 86_400, 2)):
        visitor.services.metrics.record(OPERATOR, log(visitor.services.store, ago=ago), "rating", rating)
    page = visitor.open("statistics", period="7d")
    table = page.dataframe[-1].value
    assert table[["key", "count", "mean"]].to_numpy().tolist() == [["rating", 2, 3.0]]
    assert page.selectbox(key="statistics-metric").options == ["rating"]
    assert "by period and app, not by the other filters" in words(page)
    assert "Custom metrics" not in words(visitor.open("statistics", period="7d", app="another"))


@pytest.mark.feature("COST-5")
def test_explore_crosses_what_the_address_says_and_keeps_it_as_a_view(year: Visitor) -> None:
    page = year.open("statistics", tab="explore", split="app", across="provider", figure="calls", period="12m")
    table = page.dataframe[0].value
    assert table.iloc[0, 0] == "Total"
    assert table.iloc[0, -1] == table.iloc[1:, -1].sum()
    next(box for box in page.selectbox if box.label == "Split by").set_value("model").run()
    assert {"model", "explore"} <= {value for value in page.query_params.values() if isinstance(value, str)}
    actor = year.services.sessions.find_actor(str(session.read_token()))
    assert actor is not None
    view = year.services.saved_views.save(actor, "Models", {"tab": ["explore"], "split": ["model"]}, pinned=True)
    assert any(button.key == f"delete-{view.id}" for button in year.open("statistics", tab="explore").button)
    assert "Models" in [one.value for one in year.open("dashboard").subheader]
    for shape in ("heat", "area", "bars", "multiples"):
        assert not year.open("statistics", tab="explore", split="model", across="day", shape=shape).exception


@pytest.mark.feature("COST-5")
def test_a_custom_metric_is_a_figure_of_explore(visitor: Visitor) -> None:
    visitor.services.metrics.record(OPERATOR, log(visitor.services.store, ago=60), "rating", 4)
    page = visitor.open("statistics", tab="explore", split="app", figure="metric.mean.rating", period="7d")
    assert page.dataframe[0].value.iloc[:, 1].tolist() == [4.0, 4.0], "the total, and the app"
    figures = next(box for box in page.selectbox if box.label == "Figure")
    assert {"rating · mean", "rating · values", "Cost"} <= set(figures.options)
    unknown = visitor.open("statistics", tab="explore", split="app", figure="metric.worst.rating", period="7d")
    assert next(box for box in unknown.selectbox if box.label == "Figure").value == "cost"


@pytest.mark.feature("COST-4")
def test_the_calls_behind_a_cell_keep_the_filters_and_add_its_values() -> None:
    start, end = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
    view = StatisticsView(apps=("shop",), tags=("team=blue",))
    where = view.filter(start, end, ZoneInfo("UTC"))
    assert where.tags == (("team", "blue"),)

    def behind(picked: dict[Any, Any]) -> ActivityFilter:
        query = explore.find_rows_behind(view, where, picked)
        assert query is not None
        return ActivityFilter.from_query(query)

    day = behind({PeriodStep.DAY: "2026-10-05", Dimension.API_KEY: "key"})
    assert (day.start, day.end) == (datetime(2026, 10, 5, tzinfo=UTC), datetime(2026, 10, 6, tzinfo=UTC))
    assert (day.apps, day.tags, day.api_keys) == (("shop",), ("team=blue",), ("key",))
    assert behind({Tag("stage"): "test"}).tags == ("team=blue", "stage=test")
    assert behind({}).start == start
    unknowns: list[dict[Any, Any]] = [{Cycle.WEEKDAY: 1}, {Dimension.MODEL: None}, {Dimension.LANE: "relay"}]
    for unknown in unknowns:
        assert explore.find_rows_behind(view, where, unknown) is None


@pytest.mark.feature("COST-4")
def test_origin_and_status_narrow_and_a_year_ago_can_be_compared(year: Visitor) -> None:
    page = year.open("statistics", status="error", compare="year", period="12m")
    assert "2024" in words(page) or "2025" in words(page)
    assert StatisticsView.from_query({"status": ["error"], "compare": ["year"]}).to_query() == {
        "status": ["error"],
        "compare": ["year"],
    }
