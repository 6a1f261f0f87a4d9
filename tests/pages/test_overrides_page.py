"""The Overrides page: what holds for a call is shown with its source; making, changing and deleting one."""

from collections.abc import Iterator

import pytest

from lib.access.permissions import OPERATOR, Role
from lib.configs.overrides import OverrideDraft
from lib.settings import Settings
from tests.pages.visitor import Visitor, press, press_last, run, words

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.feature("CFG-5")]


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    services = visitor.services
    services.providers.create(OPERATOR, name="scripted", kind="scripted")
    services.configurations.create(
        OPERATOR, slug="works", app="support", provider="scripted", model="echo", parameters={"temperature": 0.5}
    )
    yield visitor
    visitor.close()


def test_without_overrides_the_preview_still_tells_what_is_sent(visitor: Visitor) -> None:
    page = visitor.open("overrides", config="works")
    assert "No overrides yet" in words(page)
    shown = page.dataframe[0].value
    assert shown.to_dict("records") == [
        {"Parameter": "temperature", "Sent": "✓ sent", "Value": "0.5", "From": "configuration"}
    ]


def test_the_preview_follows_app_and_context(visitor: Visitor) -> None:
    overrides = visitor.services.overrides
    overrides.create(OPERATOR, OverrideDraft("cool", {"temperature": 0}, app="support"))
    overrides.create(OPERATOR, OverrideDraft("seeded", {"seed": 7}, context="summary"))
    page = visitor.open("overrides", config="works")
    shown = page.dataframe[1].value
    assert shown[["Parameter", "Value", "From"]].to_numpy().tolist() == [["temperature", "0", "override cool"]]
    page.selectbox(key="context").set_value("summary")
    shown = run(page).dataframe[1].value
    assert shown[["Parameter", "Sent"]].to_numpy().tolist() == [["seed", "⊘ refused"], ["temperature", "✓ sent"]]
    assert "echo does not take seed" in words(page)
    page.selectbox(key="app").set_value("general")
    assert "override cool" not in run(page).dataframe[1].value["From"].tolist()


def test_making_one_says_under_the_field_what_is_wrong(visitor: Visitor) -> None:
    page = visitor.draw("lib.ui.configurations.overrides.draw_editor", "settings and None")
    page.text_area[0].set_value("[1]")
    page.text_input[0].set_value("short")
    page = press(page, "Create override")
    assert "not a JSON object" in words(page)
    page.text_area[0].set_value('{"max_tokens": 64, "seed": null}')
    press_last(page, "Create override")
    made = visitor.services.overrides.list(OPERATOR)
    assert [(o.name, o.parameters, o.app) for o in made] == [("short", {"max_tokens": 64, "seed": None}, None)]


def test_switching_off_and_deleting(visitor: Visitor) -> None:
    overrides = visitor.services.overrides
    one = overrides.create(OPERATOR, OverrideDraft("cool", {"temperature": 0}))
    press(visitor.open("overrides", id=one.id), "Switch off")
    assert not overrides.get(OPERATOR, one.id).is_active
    assert "keep their parameters" in words(press(visitor.open("overrides", id=one.id), ":red[Delete]"))
    page = visitor.draw("lib.ui.configurations.overrides.delete_dialog", f"overrides.get(actor, {one.id!r})")
    press_last(page, ":red[Delete override]")
    assert overrides.list(OPERATOR) == []


def test_the_playground_shows_what_will_be_sent(visitor: Visitor) -> None:
    visitor.services.overrides.create(OPERATOR, OverrideDraft("cool", {"temperature": 0}, app="support"))
    page = visitor.open("playground", config="works")
    assert page.dataframe[0].value["From"].tolist() == ["override cool"]


def test_who_may_only_look_finds_the_buttons_locked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = Visitor(settings, monkeypatch, Role.ADMINISTRATOR)
    try:
        visitor.services.overrides.create(OPERATOR, OverrideDraft("cool", {"temperature": 0}))
        page = visitor.open("overrides")
        assert {"New override", "Edit", "Switch off", ":red[Delete]"} <= {b.label for b in page.button if b.disabled}
    finally:
        visitor.close()
