"""Choosing a model: listed ones with what is known of them, any other by typing, and a list that can't be fetched."""

from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest
from visitor import Visitor, press, press_last, run, words

from lib.access.permissions import OPERATOR, Role
from lib.settings import Settings

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.feature("CFG-4")]


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    visitor.services.providers.create(OPERATOR, name="scripted", kind="scripted")
    yield visitor
    visitor.close()


def field(page: AppTest, label: str) -> object:
    return next(box for box in page.selectbox if box.label == label)


def test_a_new_configuration_starts_with_what_its_model_can(visitor: Visitor) -> None:
    page = visitor.draw("lib.ui.configuration_form.editor", "settings and None")
    field(page, "Provider").set_value("openai")  # type: ignore[attr-defined]
    page = run(page)
    assert "openai was not asked" in words(page)
    field(page, "Model").set_value("gpt-4.1-mini")  # type: ignore[attr-defined]
    page = run(page)
    assert "reads 1\\.05M tokens" in words(page)
    assert "per million tokens" in words(page)
    assert page.button_group[0].value == ["streaming", "tools", "vision", "json"]


@pytest.mark.feature("CFG-2")
def test_a_model_that_nobody_lists_can_be_typed_and_the_policy_chosen(visitor: Visitor) -> None:
    page = visitor.draw("lib.ui.configuration_form.editor", "settings and None")
    field(page, "Provider").set_value("scripted")  # type: ignore[attr-defined]
    page = run(page)
    assert "echo" in field(page, "Model").options  # type: ignore[attr-defined]
    field(page, "Model").set_value("say:hello")  # type: ignore[attr-defined]
    field(page, "Parameters the model does not take").set_value("drop")  # type: ignore[attr-defined]
    page.text_input[0].set_value("typed")
    page = run(page)
    assert "Nothing is known" in words(page)
    press_last(page, "Create configuration")
    made = visitor.services.configurations.get(OPERATOR, "typed")
    assert (made.model, made.unsupported_parameters) == ("say:hello", "drop")


def test_the_list_of_a_provider_shows_facts_age_and_failure(visitor: Visitor) -> None:
    providers = visitor.services.providers
    page = visitor.draw("lib.ui.model_list.models_dialog", "providers.get(actor, 'scripted')")
    assert "models, listed" in words(page)
    assert "echo" in page.dataframe[0].value["model"].tolist()
    providers.update(OPERATOR, providers.get(OPERATOR, "ollama").id, base_url="http://127.0.0.1:9", allow_private=True)
    page = visitor.draw("lib.ui.model_list.models_dialog", "providers.get(actor, 'ollama')")
    assert "ollama can't be reached" in words(page).replace("\\", "")
    page = press(page, "Refresh list")
    assert "Tried" in words(page)
