"""The knowledge base's page: collections, documents with their states, search and its reasons, what others see."""

from collections.abc import Iterator
from typing import Any

import pytest

from lib.access.permissions import OPERATOR, Role
from lib.knowledge.documents.chunking import Chunking
from lib.settings import Settings
from lib.ui import session
from lib.ui.knowledge.passage_text import format_beginning, format_passage
from tests.pages.visitor import Visitor, press, words


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    made = Visitor(settings, monkeypatch, Role.DEVELOPER)
    made.services.providers.create(OPERATOR, name="scripted", kind="scripted")
    yield made
    made.close()


def collection(visitor: Visitor, **more: Any) -> str:
    actor = visitor.services.sessions.find_actor(str(session.read_token()))
    assert actor is not None
    made = visitor.services.knowledge.collections.create(
        actor, "Manual", embedding_model="scripted/words:64", chunking=Chunking(size=200, overlap=0), **more
    )
    visitor.services.knowledge.documents.add(actor, made.id, "boiler.txt", b"The boiler is descaled every four weeks.")
    visitor.services.knowledge.documents.add(actor, made.id, "broken.pdf", b"%PDF-1.4 nothing")
    visitor.services.knowledge.ingest.run_due()
    return made.id


@pytest.mark.feature("RAG-1")
def test_an_empty_knowledge_base_says_what_it_is_for_and_makes_a_collection(visitor: Visitor) -> None:
    page = visitor.open("knowledge")
    assert "No collections yet" in words(page)
    form = visitor.draw("lib.ui.knowledge.collection_cards.create_dialog")
    next(box for box in form.text_input if box.label == "Name").set_value("Handbook")
    press(form, "Make collection")
    assert [one.name for one in visitor.services.knowledge.collections.list(OPERATOR)] == ["Handbook"]


@pytest.mark.feature("RAG-1")
def test_documents_say_how_far_they_are_and_why_one_failed(visitor: Visitor) -> None:
    one = collection(visitor)
    page = visitor.open("knowledge", id=one)
    table = page.dataframe[0].value
    assert dict(zip(table["title"], (labels[0] for labels in table["state"]), strict=True)) == {
        "boiler.txt": "✓ ready",
        "broken.pdf": "✕ failed",
    }
    failed = next(d for d in visitor.services.knowledge.documents.list(OPERATOR, one) if d.state == "failed")
    page = visitor.open("knowledge", id=one, document=failed.id)
    assert "It is damaged or was cut off" in words(page)
    press(page, "Try again")
    states = {d.title: d.state for d in visitor.services.knowledge.documents.list(OPERATOR, one)}
    assert states == {"boiler.txt": "ready", "broken.pdf": "queued"}


@pytest.mark.feature("RAG-4")
def test_the_address_searches_and_every_passage_says_why_it_was_found(visitor: Visitor) -> None:
    page = visitor.open("knowledge", id=collection(visitor), tab="search", q="boiler descaled")
    text = words(page)
    assert "Best by meaning, best by words" in text
    assert "The :yellow-background[boiler] is :yellow-background[descaled] every four weeks" in text


@pytest.mark.feature("RAG-4")
def test_a_passage_is_read_as_text_with_the_telling_words_of_the_question_marked() -> None:
    passage = "# Refunds\n| Days | Fee |\n|---|---|\n| 30 | none |\n\n![x](http://a/b) <b>refund</b>"
    shown = format_passage(passage, "When do I get my refund?")
    assert shown.startswith("**:yellow-background[Refunds]**  \nDays · Fee  \n30 · none  \n")
    assert "![" not in shown.replace("\\!\\[", "")
    assert "\\<b\\>:yellow-background[refund]" in shown
    assert format_beginning(passage, "fee", 20).startswith("Refunds Days · ")


@pytest.mark.feature("RAG-5")
def test_questions_are_answered_from_the_collection(visitor: Visitor) -> None:
    visitor.services.configurations.create(
        OPERATOR, slug="talk", app="knowledge", provider="scripted", model="say:The boiler every four weeks [1] [5]."
    )
    one = collection(visitor)
    page = visitor.open("knowledge", id=one, tab="answer")
    next(box for box in page.selectbox if box.label == "Model").set_value("talk").run()
    page.chat_input[0].set_value("How often?").run()
    turns = page.session_state[f"answers-{one}"]
    actor = visitor.services.sessions.find_actor(str(session.read_token()))
    assert actor is not None
    visitor.services.calls.wait(actor, turns[0].retrieval.call_id)
    page.run()
    text = words(page)
    assert "The boiler every four weeks [1]" in text.replace("\\", "")
    assert "1 citation without a source taken out" in text


@pytest.mark.feature("RAG-1")
def test_what_is_not_shared_is_not_there(settings: Settings, monkeypatch: pytest.MonkeyPatch, visitor: Visitor) -> None:
    other = visitor.services.knowledge.collections.create(OPERATOR, "Secret", embedding_model="scripted/words:64")
    page = visitor.open("knowledge", id=other.id)
    assert "It was deleted, or it belongs to somebody else." in words(page)
    visitor.services.knowledge.collections.update(OPERATOR, other.id, is_shared=True)
    page = visitor.open("knowledge", id=other.id)
    assert [tab.label for tab in page.tabs][:3] == ["Documents", "Search", "Answer"]
    assert "Settings" not in [tab.label for tab in page.tabs]
