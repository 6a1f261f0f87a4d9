"""The Budgets page: what is spent of what, why a call would not pass, setting, changing and deleting."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from lib.access.permissions import OPERATOR, Role
from lib.budgets.budget import CallFacts, Period
from lib.budgets.holds import reserve, settle, settle_many
from lib.calls.observed_usage import SETTING
from lib.clock import make_id, utc_now
from lib.db import installation
from lib.settings import Settings
from tests.pages.visitor import Visitor, press, press_last, run, words
from tests.waiting import CEILING_S

pytestmark = [pytest.mark.feature("COST-2"), pytest.mark.filterwarnings("default")]
DOLLAR = 1_000_000_000
FIND = "budgets.list(actor)[0]"


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    yield visitor
    visitor.close()


def spend(visitor: Visitor, dollars: int, held: int = 0) -> None:
    """A call of app `writing` that has ended, and one under way."""
    facts = CallFacts("openai", "writing")
    with visitor.services.store.write() as connection:
        log_id = make_id()
        reserve(connection, facts, log_id, dollars * DOLLAR, utc_now())
        settle(connection, log_id, dollars * DOLLAR, utc_now())
        if held:
            reserve(connection, facts, make_id(), held * DOLLAR, utc_now())


def budget(visitor: Visitor, **more: Any) -> None:
    fields: dict[str, Any] = {"scope": "app", "subject": "writing", "period": "month", "limit_nano": 10 * DOLLAR} | more
    visitor.services.budgets.create(OPERATOR, **fields)


def test_without_budgets_the_page_says_what_one_is(visitor: Visitor) -> None:
    assert "No budgets yet" in words(visitor.open("budgets"))


def test_a_provider_that_counts_more_than_was_held_for_is_told_to_people(visitor: Visitor) -> None:
    observed = {"openai/gpt9": [100, 0, 8_200, 0, time.time() + 3_600], "openai/gone": [100, 9, 100, 0, 1.0]}
    with visitor.services.store.write() as connection:
        installation.write(connection, SETTING, observed)
    said = words(visitor.open("budgets"))
    assert "openai/gpt9" in said
    assert "answers 82.00 times their bound" in said
    assert "openai/gone" not in said


def test_a_card_whose_calls_are_not_all_known_says_at_least(visitor: Visitor) -> None:
    budget(visitor)
    with visitor.services.store.write() as connection:
        log_id = make_id()
        reserve(connection, CallFacts("openai", "writing"), log_id, DOLLAR, utc_now())
        settle_many(connection, {log_id: DOLLAR}, utc_now(), partly_priced=frozenset([log_id]))
    said = words(visitor.open("budgets"))
    assert "≥ \\$1.00** of \\$10.00" in said
    assert "1 call unpriced, not or not wholly in the sum" in said


def test_a_card_tells_what_is_spent_held_and_told(visitor: Visitor) -> None:
    budget(visitor)
    spend(visitor, 8, held=1)
    page = visitor.open("budgets")
    said = words(page)
    assert "\\$8.00** of \\$10.00" in said
    assert "\\$1.00 more is held" in said
    assert "80 % reached" in said
    assert "1 budget, 1 near the limit, past it or refusing" in said
    assert "near the limit" in said


def test_setting_one_names_the_field_that_is_wrong(visitor: Visitor) -> None:
    page = visitor.draw("lib.ui.budgets.budget_forms.add_dialog")
    next(box for box in page.selectbox if box.label == "App").set_value("general").run()
    page = press(page, "Set budget")
    assert "The limit is missing" in words(page)
    for wrong in ("12,50", "1,23", "twelve", "1.2.3", "-4"):
        next(field for field in page.text_input if field.label.startswith("Limit")).set_value(wrong)
        page = press(page, "Set budget")
        assert "The limit is not an amount" in words(page), wrong
    next(field for field in page.text_input if field.label.startswith("Limit")).set_value("12.50")
    press_last(page, "Set budget")
    (state,) = visitor.services.budgets.list(OPERATOR)
    assert (state.budget.label, state.budget.period, state.budget.limit_nano) == (
        "general",
        Period.MONTH,
        12_500_000_000,
    )
    assert (state.budget.is_hard, state.budget.thresholds) == (True, (50, 80, 100))


def test_a_key_and_a_person_are_chosen_by_name(visitor: Visitor) -> None:
    _, key = visitor.services.api_keys.create(OPERATOR, app="writing", name="nightly")
    for about, label, known in (("A person", "Person", "amira"), ("An API key", "API key", f"nightly ({key.prefix}…)")):
        page = visitor.draw("lib.ui.budgets.budget_forms.add_dialog")
        scope = next(box for box in page.selectbox if box.label == "About")
        page = scope.select(about).run()
        next(field for field in page.text_input if field.label.startswith("Limit")).set_value("5")
        page = press(page, "Set budget")
        assert "Choose what the budget is about" in words(page)
        page = next(box for box in page.selectbox if box.label == label).select(known).run()
        press_last(page, "Set budget")
    assert {state.budget.label for state in visitor.services.budgets.list(OPERATOR)} == {
        "amira",
        f"nightly ({key.prefix}…)",
    }
    assert f"nightly ({key.prefix}…)" in words(visitor.open("budgets")).replace("\\", "")


def test_changing_one_keeps_what_is_not_touched(visitor: Visitor) -> None:
    budget(visitor, thresholds=[33])
    page = visitor.draw("lib.ui.budgets.budget_forms.edit_dialog", FIND)
    next(field for field in page.text_input if field.label.startswith("Limit")).set_value("$1,000")
    page.radio[0].set_value(False)
    press_last(page, "Save budget")
    (state,) = visitor.services.budgets.list(OPERATOR)
    assert (state.budget.limit_nano, state.budget.is_hard, state.budget.thresholds) == (1000 * DOLLAR, False, (33,))


def test_the_dry_run_says_why_a_call_would_not_pass(visitor: Visitor) -> None:
    budget(visitor, subject="general", limit_nano=1)
    page = visitor.draw("lib.ui.budgets.budget_forms.check_dialog")
    choose = next(box for box in page.selectbox if box.label == "Configuration")
    page = choose.set_value("openai-default").run()
    assert any("does not fit the app budget general" in error.proto.title for error in page.error)
    page = next(box for box in page.selectbox if box.label == "Configuration").set_value("local-default").run()
    assert not page.exception
    assert not page.error
    assert "It is free" in words(page)
    local = visitor.services.providers.get(OPERATOR, "local")
    fallback = {"provider_id": local.id, "model": visitor.services.configurations.get(OPERATOR, "local-default").model}
    own = visitor.services.configurations.get(OPERATOR, "openai-default")
    visitor.services.configurations.update(OPERATOR, own.id, own.revision, routing={"fallbacks": [fallback]})
    page = next(box for box in page.selectbox if box.label == "Configuration").set_value("openai-default").run()
    assert any("does not fit" in error.proto.title for error in page.error)
    assert "of local instead" in "".join(str(element.value) for element in page.info)


def test_history_counts_again_and_deleting_asks_first(visitor: Visitor) -> None:
    budget(visitor)
    spend(visitor, 3)  # not in the ledger, so counting again finds nothing
    page = press(visitor.draw("lib.ui.budgets.budget_cards.show_history", FIND), "Count again")
    assert "\\$0 is spent" in "".join(str(element.value) for element in page.success)
    page = visitor.draw("lib.ui.budgets.budget_cards.delete_dialog", FIND)
    assert "The calls, their cost and the statistics stay" in words(page)
    press_last(page, ":red[Delete budget]")
    assert visitor.services.budgets.list(OPERATOR) == []


def test_the_webhook_is_set_and_its_state_shown(visitor: Visitor) -> None:
    page = visitor.draw("lib.ui.budgets.webhook_dialog.show_webhook")
    fields = {field.label: field for field in page.text_input}
    fields["Address"].set_value("http://127.0.0.1:9/t0ken")
    page = press(page, "Set webhook")
    assert "private address" in words(page)
    page.checkbox[0].check()
    page = press(page, "Set webhook")
    assert "secret is too short" in words(page)
    next(field for field in page.text_input if "secret" in field.label).set_value("a long enough secret")
    press_last(page, "Set webhook")
    page = press(visitor.draw("lib.ui.budgets.webhook_dialog.show_webhook"), "Send test message")
    assert any("could not be reached" in error.proto.title for error in page.error)
    page = visitor.draw("lib.ui.budgets.webhook_dialog.show_webhook")
    assert "1 waiting" in words(page)
    assert "t0ken" not in words(page)


def test_who_may_only_look_finds_the_buttons_locked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = Visitor(settings, monkeypatch, Role.ADMINISTRATOR)
    try:
        budget(visitor)
        page = visitor.open("budgets")
        locked = {button.label for button in page.button if button.disabled}
        assert {"New budget", "Edit", ":red[Delete]"} <= locked
        assert "Webhook" not in {button.label for button in page.button}
    finally:
        visitor.close()


def test_the_dashboard_part_lists_what_needs_a_look(visitor: Visitor) -> None:
    from streamlit.testing.v1 import AppTest

    budget(visitor, is_hard=False)
    budget(visitor, scope="global", subject="", limit_nano=1000 * DOLLAR)
    spend(visitor, 11)
    script = """
import streamlit as st
from lib.ui import session
from lib.ui.budgets import budget_cards
session.register({"budgets": st.Page(lambda: None, url_path="budgets")})
budget_cards.show_attention(session.ensure_services(), session.require_actor())
"""
    said = words(run(AppTest.from_string(script, default_timeout=CEILING_S)))
    assert "writing" in said
    assert "over the limit" in said
    assert "Everything" not in said
