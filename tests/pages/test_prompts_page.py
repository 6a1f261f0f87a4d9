"""The Prompts page: made, edited into versions, labelled, tried; and a template asked in the playground."""

from collections.abc import Iterator

import pytest

from lib.access.permissions import OPERATOR, Role
from lib.calls.request import CallRequest
from lib.prompts.template import VersionDraft
from lib.settings import Settings
from tests.pages.visitor import Visitor, press, press_last, run, words

pytestmark = [
    pytest.mark.filterwarnings("default"),  # Streamlit's and pandas' own deprecations are not ours to fix
    pytest.mark.feature("PLAY-3"),
]
NUMBER = {"name": "words", "type": "number", "default": 5}


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    visitor.services.providers.create(OPERATOR, name="scripted", kind="scripted")
    visitor.services.configurations.create(OPERATOR, slug="echo", app="bot", provider="scripted", model="echo+priced")
    yield visitor
    visitor.close()


def field(page, label: str, nth: int = 0):  # type: ignore[no-untyped-def]
    """A text field by its label."""
    return [one for one in (*page.text_input, *page.text_area) if one.label == label][nth]


def test_an_empty_page_says_what_a_prompt_is(visitor: Visitor) -> None:
    assert "No prompts yet" in words(visitor.open("prompts"))


def test_a_prompt_is_made_edited_and_labelled(visitor: Visitor) -> None:
    dialog = visitor.draw("lib.ui.prompts.prompt_editor.create_dialog")
    field(dialog, "Name").set_value("Not a name")
    field(dialog, "Prompt").set_value("Sum up {{text}}")
    assert "can't be used" in press(dialog, "Create prompt").error[0].proto.title
    field(dialog, "Name").set_value("summary")
    press_last(dialog, "Create prompt")
    prompts = visitor.services.prompts
    assert prompts.get(OPERATOR, "summary").newest == 1
    page = visitor.open("prompts", id="summary")
    field(page, "Prompt").set_value("Sum up {{text}} in {{words}} words")
    page = run(page)
    next(one for one in page.selectbox if one.label == "Type" and "words" in str(one.key)).set_value("number")
    field(page, "Default", 1).set_value("ten")
    page = press(page, "Save version")
    assert "its default must be a number" in page.error[0].value
    field(page, "Default", 1).set_value("10")
    field(page, "Why", 0).set_value("shorter")
    page = press(page, "Save version")
    newest = prompts.version(OPERATOR, "summary")
    assert (newest.version, newest.user_name, newest.reason) == (2, "amira", "shorter")
    assert [(one.name, one.type, one.default) for one in newest.variables] == [
        ("text", "text", None),
        ("words", "number", "10"),
    ]
    assert "in \\{\\{words\\}\\} words" in words(page)
    page = press(page, "Edit")
    assert field(page, "Prompt").value == "Sum up {{text}}"
    page = press(page, "Make production", 1)
    assert prompts.get(OPERATOR, "summary").labels == {"draft": 2, "production": 1}


def test_of_two_who_edit_the_second_is_told(visitor: Visitor) -> None:
    visitor.services.prompts.create(OPERATOR, "summary", VersionDraft("Sum up {{text}}"))
    page = visitor.open("prompts", id="summary")
    field(page, "Prompt").set_value("Mine {{text}}")
    page = run(page)
    visitor.services.prompts.save(OPERATOR, "summary", VersionDraft("Theirs {{text}}"), 1)
    page = press(page, "Save version")
    assert "has a newer version" in page.error[0].proto.title
    assert visitor.services.prompts.version(OPERATOR, "summary").text == "Theirs {{text}}"
    assert field(page, "Prompt").value == "Mine {{text}}"
    page = press(page, "Show it")
    assert field(page, "Prompt").value == "Theirs {{text}}"


def test_use_and_cost_come_from_the_ledger(visitor: Visitor) -> None:
    prompts = visitor.services.prompts
    prompts.create(OPERATOR, "where", VersionDraft("Where is {{city}}?"))
    filled = prompts.fill(OPERATOR, "where", {"city": "Paris"}, label="draft")
    messages = [{"role": "user", "content": filled.text}]
    asked = CallRequest(actor=OPERATOR, messages=messages, configuration="echo", tags=filled.tags)
    cost = visitor.services.calls.run(asked).cost_nano_usd
    assert cost
    page = visitor.open("prompts", id="where")
    shown = page.dataframe[0].value
    assert (int(shown["calls"].iloc[0]), "1 calls" in words(page)) == (1, True)


def test_a_low_role_reads_and_can_not_change(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = Visitor(settings, monkeypatch, Role.ADMINISTRATOR)
    visitor.services.prompts.create(OPERATOR, "summary", VersionDraft("Sum up {{text}}"))
    page = visitor.open("prompts")
    locked = {button.label: button.disabled for button in page.button}
    assert locked["New prompt"]
    assert locked["Save version"]
    assert locked["Make production"]
    assert field(page, "Prompt").disabled
    visitor.close()


def test_a_template_fills_the_playgrounds_question(visitor: Visitor) -> None:
    draft = VersionDraft("Where is {{city}}?", "In {{words}} words.", [NUMBER], {"temperature": 0.3})
    visitor.services.prompts.create(OPERATOR, "where", draft)
    page = visitor.open("playground", prompt="where", config="echo")
    page = press(page, "Ask with this prompt")
    assert "Missing\\: city." in page.error[0].value
    field(page, "city").set_value("Paris")
    page = press(page, "Ask with this prompt")
    actor = visitor.services.users.list(OPERATOR)[0]
    from lib.access.permissions import make_actor

    person = make_actor(actor.id, "amira", Role.SUPER_ADMIN)
    (line,), _ = visitor.services.playground.recent(person)
    opened = visitor.services.playground.open(person, line.id)
    view = visitor.services.calls.wait(person, str(opened.panes[0].call_id), 20)
    assert [one["content"] for one in view.messages] == ["In 5 words.", "Where is Paris?"]
    assert view.parameters == {"temperature": 0.3}
    from sqlalchemy import select

    from lib.db.tables import usage_logs

    with visitor.services.store.read() as connection:
        tags = connection.scalar(select(usage_logs.c.tags).where(usage_logs.c.call_id == view.call_id))
    assert tags == {"playground_run": line.id, "template": "where", "template_version": "1"}
