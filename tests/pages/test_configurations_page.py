"""The Configurations page: what is there, testing it, changing it, and what a low role can't do."""

from collections.abc import Iterator

import pytest

from lib.access.permissions import OPERATOR, Role
from lib.errors import InvalidInput
from lib.settings import Settings
from lib.ui.configurations.routing_form import TargetChoice, read_targets
from tests.pages.visitor import Visitor, press, press_last, run, words

pytestmark = pytest.mark.filterwarnings("default")  # Streamlit's and pandas' own deprecations are not ours to fix


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    services = visitor.services
    services.providers.create(OPERATOR, name="scripted", kind="scripted")
    services.configurations.create(OPERATOR, slug="works", app="support", provider="scripted", model="echo")
    services.configurations.create(OPERATOR, slug="fails", app="support", provider="scripted", model="error:401")
    yield visitor
    visitor.close()


@pytest.mark.feature("CFG-8")
def test_a_fresh_installation_lists_its_examples(visitor: Visitor) -> None:
    page = visitor.open("configurations")
    shown = page.dataframe[0].value
    assert shown["slug"].iloc[0] == "local-default"
    assert "8 of 8 configurations" in words(page)
    assert "default for everything" in words(page)


@pytest.mark.feature("CFG-3")
def test_testing_tells_time_and_model_or_the_reason_and_is_logged(visitor: Visitor) -> None:
    page = press(visitor.open("configurations", id="works"), "Test")
    assert "echo answered in" in words(page)
    page = press(visitor.open("configurations", id="fails"), "Test")
    assert "The test failed" in page.error[0].proto.title or "failed" in words(page)
    check = visitor.services.providers.get(OPERATOR, "scripted").last_check
    assert check is not None
    assert check["ok"] is False
    with visitor.services.store.read() as connection:
        from sqlalchemy import select

        from lib.db.tables import usage_logs

        rows = connection.execute(select(usage_logs.c.status, usage_logs.c.origin).order_by(usage_logs.c.id)).all()
    assert [tuple(row) for row in rows] == [("ok", "system"), ("error", "system")]


@pytest.mark.feature("CFG-2")
def test_clone_switch_off_and_default(visitor: Visitor) -> None:
    page = press(visitor.open("configurations", id="works"), "Make default for support")
    configurations = visitor.services.configurations
    assert configurations.default_for(OPERATOR, "support").slug == "works"
    page = press(page, "Clone")
    assert "works-copy" in {c.slug for c in configurations.list(OPERATOR)}
    press(visitor.open("configurations", id="works"), "Switch off")
    assert not configurations.get(OPERATOR, "works").is_active
    page = press(visitor.open("configurations", id="local-default"), "Switch off")
    assert any("switched off" in error.proto.title for error in page.error)


@pytest.mark.feature("CFG-2")
def test_editing_says_under_the_field_what_is_wrong(visitor: Visitor) -> None:
    page = visitor.draw("lib.ui.configurations.configuration_form.draw_editor", "configurations.get(actor, 'works')")
    name = next(field for field in page.text_input if field.label == "Name")
    name.set_value("Not A Name")
    page = press(page, "Save configuration")
    assert "must be lower\\-case" in words(page)
    next(field for field in page.text_input if field.label == "Name").set_value("fails")
    page = press(page, "Save configuration")
    assert "taken" in page.error[0].proto.title
    next(field for field in page.text_input if field.label == "Name").set_value("works-well")
    press_last(page, "Save configuration")
    assert visitor.services.configurations.get(OPERATOR, "works-well").model == "echo"


@pytest.mark.feature("CFG-2")
def test_deleting_asks_first(visitor: Visitor) -> None:
    page = press(visitor.open("configurations", id="works"), ":red[Delete]")
    assert "the statistics stay" in words(page)
    assert "works" in {c.slug for c in visitor.services.configurations.list(OPERATOR)}
    page = visitor.draw("lib.ui.configurations.configuration_table.delete_dialog", "configurations.get(actor, 'works')")
    press_last(page, ":red[Delete configuration]")
    assert "works" not in {c.slug for c in visitor.services.configurations.list(OPERATOR)}


@pytest.mark.feature("CFG-2")
def test_a_search_without_a_match_says_so(visitor: Visitor) -> None:
    page = visitor.open("configurations")
    page.text_input(key="q").set_value("zebra")
    assert "Nothing matches" in words(run(page))


@pytest.mark.feature("ACC-1")
def test_who_may_only_look_finds_the_buttons_locked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = Visitor(settings, monkeypatch, Role.ADMINISTRATOR)
    try:
        page = visitor.open("configurations")
        locked = {button.label for button in page.button if button.disabled}
        assert {"New configuration", "Import", "Edit", "Clone", "Switch off", ":red[Delete]"} <= locked
    finally:
        visitor.close()


@pytest.mark.feature("CFG-7")
def test_routing_is_shown_and_saved_from_the_form(visitor: Visitor) -> None:
    services = visitor.services
    spare = services.providers.create(OPERATOR, name="spare", kind="scripted")
    before = services.configurations.get(OPERATOR, "works")
    routing = {"fallbacks": [{"provider_id": spare.id, "model": "lorem"}]}
    services.configurations.update(OPERATOR, before.id, before.revision, routing=routing)
    assert "spare · lorem" in words(visitor.open("configurations", id="works"))
    page = visitor.draw("lib.ui.configurations.configuration_form.draw_editor", "configurations.get(actor, 'works')")
    next(field for field in page.number_input if field.label == "Attempts at each").set_value(2)
    next(field for field in page.number_input if field.label == "In all, s").set_value(60.0)
    press_last(page, "Save configuration")
    saved = services.configurations.get(OPERATOR, "works").routing
    assert saved == routing | {"max_attempts": 2, "deadlines": {"total_s": 60.0}}


@pytest.mark.feature("CFG-7")
def test_a_half_filled_line_of_the_routing_is_refused() -> None:
    whole = TargetChoice("id-1", "lorem", 1)
    assert read_targets([whole, TargetChoice("", "")]) == [{"provider_id": "id-1", "model": "lorem", "weight": 1}]
    for half in (TargetChoice("id-1", ""), TargetChoice("", "lorem", 2)):
        with pytest.raises(InvalidInput, match="half empty"):
            read_targets([half])
