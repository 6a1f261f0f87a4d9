"""The landing page: the first call or sample data when empty, the month and what fails when not."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest

from lib.access.permissions import OPERATOR, Role
from lib.clock import utc_now
from lib.settings import Settings
from lib.statistics.exchange import Rate
from lib.ui.statistics import dashboard
from tests.activity.activity_rig import log
from tests.pages.visitor import Visitor, press, words

pytestmark = [pytest.mark.feature("COST-4"), pytest.mark.filterwarnings("default")]


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    yield visitor
    visitor.close()


@pytest.mark.feature("SET-5")
def test_one_button_fills_an_empty_dashboard(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "SAMPLE_CALLS", 2000)
    page = visitor.open("dashboard")
    assert "No calls yet" in words(page)
    page = press(page, "Load sample data")
    assert visitor.services.demo.is_present()
    assert "Sample data is loaded" in words(page)
    assert [button.label for button in page.button] == ["Remove sample data"]
    assert {"Top apps", "Top models", "Last failures"} <= {element.value for element in page.subheader}
    assert len(page.metric) == 6
    failures = page.dataframe[-1].value
    assert 1 <= len(failures) <= 10
    assert failures.time.is_monotonic_decreasing


@pytest.mark.feature("SET-5")
def test_removing_asks_first(visitor: Visitor) -> None:
    visitor.services.demo.load(OPERATOR, 100)
    page = visitor.open("dashboard")
    press(page, "Remove sample data")
    assert visitor.services.demo.is_present()


@pytest.mark.feature("SET-5")
def test_only_a_super_admin_is_offered_sample_data(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    developer = Visitor(settings, monkeypatch, Role.DEVELOPER)
    assert [button.label for button in developer.open("dashboard").button] == ["Open the playground"]
    developer.services.demo.load(OPERATOR, 100)
    assert "Remove sample data" not in [button.label for button in developer.open("dashboard").button]
    developer.close()


@pytest.mark.feature("COST-7")
def test_forecast_and_changes_are_told_in_words(visitor: Visitor) -> None:
    visitor.services.demo.load(OPERATOR, 3000)
    told = words(visitor.open("dashboard"))
    assert {"Since last week", "At the month's end"} <= {e.value for e in visitor.open("dashboard").subheader}
    assert "the week before" in told
    assert "with a chance of 80 % between" in told
    assert "the interval held what came in" in told


@pytest.mark.feature("COST-7")
def test_too_little_history_is_said(visitor: Visitor) -> None:
    log(visitor.services.store, provider="openai", model="gpt-5.1", ago=2 * 86_400)
    told = words(visitor.open("dashboard"))
    assert "it needs 42 days since the first call, and there are 2 whole days" in told


def test_figures_charts_and_tables_are_in_the_report_currency(visitor: Visitor) -> None:
    log(visitor.services.store, provider="openai", model="gpt-5.1", cost_nano_usd=2 * 10**9)
    page = visitor.open("dashboard")
    assert (page.metric[0].value, "Cost is in" in words(page)) == ("$2.00", False)
    rates, today = visitor.services.exchange_rates, utc_now().date()
    rates.set(OPERATOR, Rate(today - timedelta(days=3), "EUR", Decimal("0.9")))
    rates.choose(OPERATOR, "EUR")
    for name in ("dashboard", "statistics"):
        page = visitor.open(name)
        assert page.metric[0].value == "€1.80"
        assert "Cost is in EUR, each day at its rate." in words(page)
    assert "€1.80" in str(visitor.open("dashboard").dataframe[0].value)
    assert "cost_eur" in visitor.open("statistics").dataframe[0].value.columns
    rates.set(OPERATOR, Rate(today + timedelta(days=3), "JPY", Decimal("150")))
    rates.choose(OPERATOR, "JPY")
    page = visitor.open("dashboard")
    assert (page.metric[0].value, "1 day has no rate and is not in it" in words(page)) == ("—", True)


def test_a_rate_is_added_on_the_settings_page(visitor: Visitor) -> None:
    page = visitor.open("settings")
    next(one for one in page.text_input if one.label == "Currency").input("EUR")
    next(one for one in page.text_input if one.label == "For one dollar").input("0.92")
    press(page, "Add rate")
    assert visitor.services.exchange_rates.choices(OPERATOR)["EUR"][0] == 1
