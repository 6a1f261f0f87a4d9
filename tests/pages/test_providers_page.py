"""The Providers page: a card each, keys by their last four, adding, editing, testing and deleting."""

from collections.abc import Iterator

import pytest

from lib.access.permissions import OPERATOR, Role
from lib.calls.request import CallRequest
from lib.providers.kinds import ProviderKind
from lib.settings import Settings
from tests.pages.visitor import Visitor, press, words

KEY = "test-key-planted-canary-a91f"
pytestmark = pytest.mark.filterwarnings("default")  # Streamlit's own deprecations are not ours to fix


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    yield visitor
    visitor.close()


@pytest.mark.feature("CFG-1")
def test_every_provider_has_a_card_with_its_state(visitor: Visitor) -> None:
    page = visitor.open("providers")
    assert {card.value for card in page.subheader} == {"anthropic", "local", "ollama", "openai", "openrouter"}
    assert "5 providers, 2 ready" in words(page)


@pytest.mark.feature("CFG-6")
def test_a_key_entered_here_is_shown_by_its_last_four_only(visitor: Visitor) -> None:
    page = visitor.draw("lib.ui.providers.provider_cards.edit_dialog", "providers.get(actor, 'openai')")
    next(field for field in page.text_input if field.label == "API key").set_value(KEY)
    press(page, "Save provider")
    assert visitor.services.providers.get(OPERATOR, "openai").key_last4 == "a91f"
    fresh = visitor.open("providers")
    assert "…a91f" in words(fresh)
    assert KEY not in words(fresh)
    page = visitor.draw("lib.ui.providers.provider_cards.edit_dialog", "providers.get(actor, 'openai')")
    assert all(field.value != KEY for field in page.text_input)


@pytest.mark.feature("CFG-1")
def test_adding_a_private_address_needs_the_tick(visitor: Visitor) -> None:
    page = visitor.draw("lib.ui.providers.provider_cards.add_dialog")
    kind = next(box for box in page.selectbox if box.label == "Kind")
    kind.set_value(ProviderKind.CUSTOM).run()
    next(field for field in page.text_input if field.label == "Base URL").set_value("http://127.0.0.1:9/v1")
    page = press(page, "Add provider")
    assert "is a private address" in words(page)
    page.checkbox[0].check()
    press(page, "Add provider")
    assert visitor.services.providers.get(OPERATOR, "custom").allow_private


@pytest.mark.feature("CFG-3")
def test_a_provider_is_tested_by_its_models_until_a_configuration_uses_it(visitor: Visitor) -> None:
    visitor.services.providers.create(OPERATOR, name="aaa", kind="scripted")
    page = visitor.open("providers")
    assert "○ not tested" in words(page)
    page = press(page, "Test")
    assert ":green[✓] Listed" in words(page)
    visitor.services.configurations.create(OPERATOR, slug="x", app="a", provider="aaa", model="echo")
    page = press(visitor.open("providers"), "Test")
    assert "Answered in" in words(page)


@pytest.mark.feature("CFG-1")
def test_deleting_is_refused_while_in_use(visitor: Visitor) -> None:
    page = press(visitor.open("providers"), ":red[Delete]")
    assert "1 configurations use it" in words(page)
    assert next(button for button in page.button if button.label == ":red[Delete provider]").disabled


@pytest.mark.feature("ACC-1")
def test_who_may_only_look_finds_the_buttons_locked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = Visitor(settings, monkeypatch, Role.DEVELOPER)
    try:
        page = visitor.open("providers")
        locked = {button.label for button in page.button if button.disabled}
        assert {"Add provider", "Edit", "Switch off", ":red[Delete]"} <= locked
        assert "Rotate master key" not in {button.label for button in page.button}
    finally:
        visitor.close()


@pytest.mark.feature("CFG-6")
def test_the_master_key_is_rotated_by_the_dialog_that_access_opens_too(visitor: Visitor) -> None:
    page = press(visitor.open("providers"), "Rotate master key")
    assert {"Keep this key", "Rotate key"} <= {button.label for button in page.button}


@pytest.mark.feature("CFG-7")
def test_an_open_circuit_is_shown_with_its_reason_and_closed_by_a_button(
    visitor: Visitor,
) -> None:
    services = visitor.services
    services.calls.jitter = lambda: 0.0
    services.providers.create(OPERATOR, name="flaky", kind="scripted")
    services.configurations.create(OPERATOR, slug="x", app="a", provider="flaky", model="error:503")
    ask = CallRequest(OPERATOR, [{"role": "user", "content": "hi"}], configuration="x", max_attempts=5)
    assert services.calls.run(ask).status == "error"
    page = visitor.open("providers")
    assert "is left alone until" in words(page)
    assert "5 failures in a row, the last: flaky failed, as scripted" in words(page)
    page = press(page, "Close now")
    assert "is left alone" not in words(page)
    assert services.circuits.list(OPERATOR) == []
