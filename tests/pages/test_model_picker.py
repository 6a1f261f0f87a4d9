"""Choosing a model: listed ones with what is known of them, others that are in use, a list that can't be fetched."""

from collections.abc import Iterator
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from lib.access.permissions import OPERATOR, Role
from lib.settings import Settings
from tests.pages.visitor import Visitor, press, press_last, run, words

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.feature("CFG-4")]


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    visitor.services.providers.create(OPERATOR, name="scripted", kind="scripted")
    yield visitor
    visitor.close()


def field(page: AppTest, label: str) -> Any:
    return next(box for box in page.selectbox if box.label == label)


def test_a_new_configuration_starts_with_what_its_model_can(visitor: Visitor) -> None:
    page = visitor.draw("lib.ui.configurations.configuration_form.draw_editor", "settings and None")
    field(page, "Provider").set_value("openai")
    page = run(page)
    assert "openai was not asked" in words(page)
    field(page, "Model").set_value("gpt-4.1-mini")
    page = run(page)
    assert "reads 1.05M tokens" in words(page)
    assert "per million tokens" in words(page)
    assert page.button_group[0].value == ["streaming", "tools", "vision", "json"]


@pytest.mark.feature("CFG-2")
def test_a_model_that_nobody_lists_stays_and_the_policy_can_be_chosen(visitor: Visitor) -> None:
    configurations = visitor.services.configurations
    configurations.create(OPERATOR, slug="typed", app="support", provider="scripted", model="say:hello")
    page = visitor.draw("lib.ui.configurations.configuration_form.draw_editor", "configurations.get(actor, 'typed')")
    assert {"echo", "say:hello"} <= set(field(page, "Model").options)
    assert "Nothing is known" in words(page)
    field(page, "Parameters the model does not take").set_value("drop")
    press_last(page, "Save configuration")
    made = configurations.get(OPERATOR, "typed")
    assert (made.model, made.unsupported_parameters) == ("say:hello", "drop")


def test_the_list_of_a_provider_shows_facts_age_and_failure(visitor: Visitor) -> None:
    providers = visitor.services.providers
    page = visitor.draw("lib.ui.providers.model_list.show_models", "providers.get(actor, 'scripted')")
    assert "models, listed" in words(page)
    assert "echo" in page.dataframe[0].value["model"].tolist()
    providers.update(OPERATOR, providers.get(OPERATOR, "ollama").id, base_url="http://127.0.0.1:9", allow_private=True)
    page = visitor.draw("lib.ui.providers.model_list.show_models", "providers.get(actor, 'ollama')")
    assert "ollama can't be reached" in words(page).replace("\\", "")
    page = press(page, "Refresh list")
    assert "Tried" in words(page)
