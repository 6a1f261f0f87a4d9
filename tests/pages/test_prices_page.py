"""The Prices page: find a price, set one, and price the calls that had none."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from lib.access.permissions import OPERATOR, Role
from lib.activity.repricing import RepricingScope
from lib.clock import utc_now
from lib.providers.prices.rates import Rates, build_plain_price
from lib.settings import Settings
from tests.pages.visitor import Visitor, press, words
from tests.statistics.ledger_rows import call, write


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    found = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    yield found
    found.close()


@pytest.mark.feature("COST-1")
def test_the_list_is_searched_and_the_address_keeps_the_search(visitor: Visitor) -> None:
    page = visitor.open("prices", q="claude-sonnet-4-5", kind="anthropic")
    assert "choose a line" in words(page)
    assert set(page.dataframe[0].value["kind"]) == {"anthropic"}
    assert page.dataframe[0].value["input"].iloc[0] == 3.0
    page = visitor.open("prices", q="no such model")
    assert "No price matches" in words(page)


@pytest.mark.feature("COST-1")
def test_unpriced_calls_are_shown_and_lead_to_their_price(visitor: Visitor) -> None:
    unpriced: dict[str, Any] = {
        "cost_nano_usd": None,
        "cost_status": "unpriced",
        "price_id": None,
        "started_at": utc_now(),
    }
    write(visitor.services.store, *(call(model="brand-new", **unpriced) for _ in range(3)))
    page = visitor.open("prices")
    assert "3 calls without a price" in words(page)
    assert page.dataframe[0].value["model"].tolist() == ["brand-new"]
    assert any(
        "3 calls unpriced" in str(getattr(link, "label", "")) for link in visitor.open("statistics").get("page_link")
    )


@pytest.mark.feature("COST-1")
def test_a_price_is_set_and_a_wrong_one_refused(visitor: Visitor) -> None:
    page = visitor.draw("lib.ui.prices.price_table.edit_price", "price_entries.search(actor, 'gpt-4.1-mini').prices[0]")
    page.text_input(key="rate-input").set_value("free")
    page = press(page, "Save price")
    assert "Write it like 2.50" in words(page).replace("\\", "")
    page.text_input(key="rate-input").set_value("1.25")
    press(page, "Save price")
    own = visitor.services.price_entries.search(OPERATOR, own_only=True).prices
    assert [price.rates.input for price in own] == [1_250_000_000]
    assert own[0].source == "set by amira"


@pytest.mark.feature("COST-1")
def test_a_price_that_was_set_offers_its_calls_from_its_first_day_on(visitor: Visitor) -> None:
    old = datetime(2025, 3, 4, 5, tzinfo=UTC)
    unpriced: dict[str, Any] = {"cost_nano_usd": None, "cost_status": "unpriced", "price_id": None, "started_at": old}
    write(visitor.services.store, call(model="brand-new", **unpriced))
    entry = build_plain_price("openai", "brand-new", datetime(2025, 3, 4, tzinfo=UTC), Rates(10**9, 10**9))
    visitor.services.price_entries.set(OPERATOR, entry)
    page = visitor.open("prices")
    page.session_state["reprice-model"] = ("brand-new", old.date())
    page = press(page.run(), "Show the difference")
    assert "1 of 1 attempts change" in words(page)
    press(page, "Write the new costs of 1 attempts")
    assert visitor.services.repricing.preview(OPERATOR, _everything()).total.changed == 0


@pytest.mark.feature("COST-1")
def test_past_calls_are_priced_again_after_a_preview(visitor: Visitor) -> None:
    unpriced: dict[str, Any] = {"cost_nano_usd": None, "cost_status": "unpriced", "price_id": None}
    write(visitor.services.store, call(model="brand-new", started_at=utc_now(), **unpriced))
    entry = build_plain_price("openai", "brand-new", datetime(2026, 1, 1, tzinfo=UTC), Rates(10**9, 10**9))
    visitor.services.price_entries.set(OPERATOR, entry)
    page = press(visitor.open("prices"), "Show the difference")
    assert "1 of 1 attempts change" in words(page)
    press(page, "Write the new costs of 1 attempts")
    assert visitor.services.repricing.preview(OPERATOR, _everything()).total.changed == 0
    assert "1 call without a price" not in words(visitor.open("prices"))


def _everything() -> RepricingScope:
    return RepricingScope()


@pytest.mark.feature("COST-1")
def test_who_may_not_change_prices_sees_them_all_the_same(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    developer = Visitor(settings, monkeypatch, Role.DEVELOPER)
    page = developer.open("prices")
    assert [button.disabled for button in page.button if button.label == "Set price"] == [True]
    assert not page.expander
    developer.close()
