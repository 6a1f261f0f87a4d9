"""The landing page: the first call or sample data when empty, the month and what fails when not."""

from collections.abc import Iterator

import pytest
from visitor import Visitor, press, words

from lib.access.permissions import OPERATOR, Role
from lib.settings import Settings
from lib.ui import dashboard
from tests.calls.activity_rig import log

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
    assert visitor.services.demo.present()
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
    assert visitor.services.demo.present()


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
    assert "with a chance of 80% between" in told
    assert "the interval held what came in" in told


@pytest.mark.feature("COST-7")
def test_too_little_history_is_said(visitor: Visitor) -> None:
    log(visitor.services.store, provider="openai", model="gpt-5.1", ago=2 * 86_400)
    told = words(visitor.open("dashboard"))
    assert "it needs 42 days since the first call, and there are 2 whole days" in told
