"""The playground's page: panes from the address, a run asked and opened again, hidden names, what a colleague sees."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from lib.access.permissions import OPERATOR, Role
from lib.knowledge.quoting import make_message
from lib.playground.question import PlaygroundQuestion
from lib.playground.run import Pane
from lib.settings import Settings
from lib.tokens.message_text import read_message_text
from lib.ui import session
from lib.ui.playground.question_editor import change_words, read_words
from tests.pages.visitor import Visitor, press, words

HIT: Any = SimpleNamespace(title="Terms", page_first=2, heading="", text="Refunds within 30 days.")


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    made = Visitor(settings, monkeypatch, Role.DEVELOPER)
    made.services.providers.create(OPERATOR, name="scripted", kind="scripted")
    for slug, script in (("echo", "echo"), ("lorem", "lorem:9"), ("broken", "fail:401")):
        made.services.configurations.create(OPERATOR, slug=slug, app="play", provider="scripted", model=script)
    yield made
    made.close()


def started(visitor: Visitor, *panes: Pane, is_blind: bool = False) -> str:
    """A run of the visitor's that has ended."""
    actor = visitor.services.sessions.find_actor(str(session.read_token()))
    assert actor is not None
    run_id = visitor.services.playground.start(actor, PlaygroundQuestion("Say *this*"), panes, is_blind=is_blind)
    for pane in visitor.services.playground.open(actor, run_id).panes:
        if pane.call_id:
            visitor.services.calls.wait(actor, pane.call_id)
    return run_id


def selected(page: AppTest) -> list[str]:
    return [str(box.value) for box in page.selectbox if box.label == "Configuration"]


@pytest.mark.feature("PLAY-1")
def test_the_address_says_which_panes_stand_side_by_side(visitor: Visitor) -> None:
    assert selected(visitor.open("playground", config="lorem,echo,nobody")) == ["lorem", "echo"]
    assert len(selected(visitor.open("playground"))) == 1
    page = visitor.open("playground", config="lorem")
    page.session_state["panes"] = 3
    page.run()
    assert len(set(selected(page))) == 3


@pytest.mark.feature("PLAY-1")
@pytest.mark.feature("PLAY-5")
def test_an_opened_run_shows_every_pane_with_its_figures_or_its_reason(visitor: Visitor) -> None:
    run_id = started(visitor, Pane("lorem", {"temperature": 0.5}), Pane("broken"), Pane("nobody"))
    page = visitor.open("playground", run=run_id)
    text = words(page)
    assert selected(page)[:2] == ["lorem", "broken"]
    assert "Say *this*" in [shown.value for shown in page.text]
    assert "Lorem" in text
    assert len(page.error) == 2  # a refused key, and a configuration that is not there
    press(page, "Run all again")
    assert page.query_params["run"] != [run_id]


@pytest.mark.feature("PLAY-1")
@pytest.mark.feature("CACHE-1")
def test_a_call_of_the_ledger_says_since_when_its_answer_was_remembered_and_is_asked_again(visitor: Visitor) -> None:
    visitor.remember("lorem")
    actor = visitor.services.sessions.find_actor(str(session.read_token()))
    assert actor is not None
    run_id = [started(visitor, Pane("lorem")) for _ in range(2)][-1]
    (pane,) = visitor.services.playground.open(actor, run_id).panes
    visitor.services.calls._calls.clear()  # as after ten minutes
    page = visitor.open("playground", run=str(pane.call_id))
    assert "From memory · given a moment before" in words(page)
    press(page, "Ask again without the cache")
    (asked,) = visitor.services.playground.open(actor, "".join(page.query_params["run"])).panes
    assert asked.call is not None
    assert (asked.call.cache, asked.call_id == pane.call_id) == ("none", False)


@pytest.mark.feature("PLAY-1")
def test_a_blind_run_hides_who_wrote_what_until_the_vote(visitor: Visitor) -> None:
    run_id = started(visitor, Pane("lorem"), Pane("echo"), is_blind=True)
    page = visitor.open("playground", run=run_id)
    assert selected(page) == []
    assert "lorem" not in words(page)
    assert not any(button.label == "Copy as code" for button in page.button)
    page = press(page, "Answer B")
    assert selected(page) == ["lorem", "echo"]
    assert "Preferred" in words(page)


@pytest.mark.feature("PLAY-5")
def test_a_colleague_reads_a_shared_run_and_can_change_nothing_of_it(visitor: Visitor) -> None:
    owner = visitor.services.users.create(OPERATOR, "jonas", "another long password", Role.DEVELOPER)
    from lib.access.permissions import make_actor

    jonas = make_actor(owner.id, "jonas", Role.DEVELOPER)
    run_id = visitor.services.playground.start(jonas, PlaygroundQuestion("Mine"), [Pane("lorem"), Pane("echo")])
    assert "somebody else's and not shared" in words(visitor.open("playground", run=run_id))
    visitor.services.playground.share(jonas, run_id, is_shared=True)
    for pane in visitor.services.playground.open(jonas, run_id).panes:
        visitor.services.calls.wait(jonas, str(pane.call_id))
    page = visitor.open("playground", run=run_id)
    assert "A run that jonas shares" in words(page)
    assert "Lorem" in words(page)
    labels = {button.label for button in page.button}
    assert not labels & {"Run again", "Stop", "Stop all", "No difference"}


@pytest.mark.feature("PLAY-2")
def test_a_schema_that_is_none_is_said_before_anything_is_sent(visitor: Visitor) -> None:
    page = visitor.open("playground", config="echo")
    next(area for area in page.text_area if area.label.startswith("JSON Schema")).set_value("{").run()
    page.chat_input[0].set_value("Hello").run()
    assert "Expecting property name" in words(page)
    assert "run" not in page.query_params


@pytest.mark.feature("PLAY-7")
def test_a_pane_opens_its_request_with_where_its_parameters_come_from(visitor: Visitor) -> None:
    run_id = started(visitor, Pane("lorem", {"temperature": 0.5}))
    page = visitor.open("playground", run=run_id)
    press(page, "Request")
    text = words(page)
    assert "Attempts" in [tab.label for tab in page.tabs]
    assert "Effective parameters and their origin" in [expander.label for expander in page.expander]
    assert "As lorem and its overrides stand now." in text


@pytest.mark.feature("PLAY-2")
def test_passages_of_a_collection_go_with_the_question_and_citations_are_checked(visitor: Visitor) -> None:
    services = visitor.services
    made = services.knowledge.collections.create(
        OPERATOR, "Manuals", embedding_model="scripted/words:256", is_shared=True
    )
    services.knowledge.documents.add(OPERATOR, made.id, "boiler.txt", b"The boiler is descaled every four weeks.")
    services.knowledge.ingest.run_due()
    said = "say:The boiler every four weeks [1]. The boiler is hot [7]."
    services.configurations.create(OPERATOR, slug="saying", app="play", provider="scripted", model=said)
    page = visitor.open("playground", config="saying")
    next(box for box in page.multiselect if box.label == "Passages from").set_value([made.id]).run()
    page.chat_input[0].set_value("How often is the boiler descaled?").run()
    run_id = "".join(page.query_params["run"])
    actor = services.sessions.find_actor(str(session.read_token()))
    assert actor is not None
    for pane in services.playground.open(actor, run_id).panes:
        services.calls.wait(actor, str(pane.call_id))
    page.run()
    assert "How often is the boiler descaled?" in [shown.value for shown in page.text]
    assert "The boiler every four weeks [1]. The boiler is hot." in words(page)
    assert "1 citation without a source taken out" in words(page)
    assert "The boiler is descaled every four weeks." in [code.value for code in page.code]


@pytest.mark.feature("PLAY-1")
def test_asked_again_each_pane_keeps_its_own_system_prompt(visitor: Visitor) -> None:
    services = visitor.services
    for slug in ("polite", "short"):
        system = f"Be {slug}."
        services.configurations.create(
            OPERATOR, slug=slug, app="play", provider="scripted", model="echo", system_prompt=system
        )
    run_id = started(visitor, Pane("polite"), Pane("short"), Pane("short", {}, "Be rude."))
    page = press(visitor.open("playground", run=run_id), "Run all again")
    again = "".join(page.query_params["run"])
    assert again != run_id
    actor = services.sessions.find_actor(str(session.read_token()))
    assert actor is not None
    prompts = [pane.system_prompt for pane in services.playground.open(actor, again).panes]
    assert prompts == ["Be polite.", "Be short.", "Be rude."]


@pytest.mark.feature("PLAY-1")
def test_a_question_is_edited_and_run_again_with_what_went_with_it(visitor: Visitor) -> None:
    page = visitor.open("playground", run=started(visitor, Pane("echo")))
    press(page, "Edit and run")
    field = next(area for area in page.text_area if area.label == "Your question")
    assert field.value == "Say *this*"
    field.set_value("Say that")
    before = page.query_params["run"]
    press(page, "Run")
    assert page.query_params["run"] != before
    assert "Say that" in [shown.value for shown in page.text]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("Plain", "Plain"),
        ([{"type": "text", "text": "With"}, {"type": "image_url", "image_url": {"url": "data:,"}}], "With"),
        ([{"type": "text", "text": "File a.txt:\n\nits words"}], ""),
        (make_message("Of passages", [HIT]), "Of passages"),
    ],
)
@pytest.mark.feature("PLAY-1")
def test_other_words_leave_files_and_passages_as_they_were_sent(content: Any, words: str) -> None:
    question = PlaygroundQuestion(read_message_text({"content": content}), content=content)
    assert read_words(question) == words
    edited = change_words(question, "Other")
    assert read_words(edited) == "Other"
    assert change_words(edited, words) == question or isinstance(content, list)
    if isinstance(content, list):
        assert [part for part in edited.content if part != {"type": "text", "text": "Other"}] == [
            part for part in content if part.get("text") != words or not words
        ]
