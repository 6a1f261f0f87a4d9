"""The Conversations page: ask, branch, search, settings, what could not be sent, somebody else's address."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from lib.access.permissions import OPERATOR, Role, make_actor
from lib.conversations.conversation import Conversation
from lib.db.tables import conversations, messages
from lib.errors import InvalidInput, NotFound
from lib.settings import Settings
from tests.calls.rig import JONAS
from tests.pages.visitor import Visitor, press, run, words
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("PLAY-6")


class Talker(Visitor):
    """Amira with a scripted configuration and the service functions under her name."""

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(settings, monkeypatch, Role.DEVELOPER)
        user = next(user for user in self.services.users.list(OPERATOR) if user.name == "amira")
        self.actor = make_actor(user.id, "amira", Role.DEVELOPER)
        self.services.providers.create(OPERATOR, name="scripted", kind="scripted")
        self.configure("echo", "echo")

    def configure(self, slug: str, script: str, **more: Any) -> None:
        self.services.configurations.create(OPERATOR, slug=slug, app="tests", provider="scripted", model=script, **more)

    def begin(self, *questions: str, title: str = "Talk", slug: str = "echo") -> Conversation:
        """A conversation with questions and their answers."""
        talk = self.services.conversations.create(self.actor, configuration=slug, title=title)
        for text in questions:
            sent = self.services.talk.send(self.actor, talk.id, text)
            self.services.talk.wait(self.actor, talk.id, sent.answer_id, CEILING_S)
        return talk

    def leaf(self, talk: Conversation) -> str:
        return str(self.services.conversations.get(self.actor, talk.id).leaf_id)

    def said(self, talk: Conversation) -> list[str]:
        return [message.content for message in self.services.talk.read(self.actor, talk.id, 0).messages]


@pytest.fixture
def amira(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Talker]:
    made = Talker(settings, monkeypatch)
    yield made
    made.close()


def ask(page: AppTest, text: str) -> AppTest:
    page.chat_input[0].set_value(text)
    return run(page)


def by_help(page: AppTest, text: str, nth: int = 0) -> AppTest:
    """Press the nth icon button with this help."""
    [button for button in page.button if button.help == text][nth].click()
    return run(page)


def texts(page: AppTest) -> list[str]:
    return [str(one.value) for one in page.text]


def test_the_empty_page_says_what_will_be_here(amira: Talker) -> None:
    page = amira.open("conversations")
    assert "Only you can read your conversations." in words(page)
    assert not page.chat_input[0].disabled


def test_a_thread_shows_words_figures_and_the_meter(amira: Talker) -> None:
    amira.configure("dear", "echo+priced")
    amira.remember("dear")
    amira.begin("What is a ledger?", slug="dear")
    talk = amira.begin("What is a ledger?", slug="dear")
    page = amira.open("conversations", id=talk.id)
    assert "What is a ledger?" in texts(page)
    said = words(page)
    assert re.search(r"from memory · saved \S+ · given a moment before", said)
    assert "Ask again without the cache" in [button.label for button in page.button]
    assert "Talk" in said
    for label in ("Context", "Tokens", "Cost", "Next message"):
        assert label in said


def test_a_conversation_of_somebody_else_is_not_there(amira: Talker) -> None:
    theirs = amira.services.conversations.create(JONAS, configuration="echo", title="Secret")
    page = amira.open("conversations", id=theirs.id)
    assert "There is no such conversation." in [error.proto.title or error.value for error in page.error] or any(
        "somebody else" in error.value for error in page.error
    )
    assert "Secret" not in words(page)
    assert not page.chat_input


def test_branches_are_moved_between_with_arrows(amira: Talker) -> None:
    talk = amira.begin("one")
    page = amira.open("conversations", id=talk.id)
    by_help(page, "Edit: a new branch")
    page.text_area(key=f"edit-{page.session_state['editing']}").set_value("two")
    press(page, "Send as a new branch")
    amira.services.talk.wait(amira.actor, talk.id, amira.leaf(talk), 10)
    page = amira.open("conversations", id=talk.id)
    assert "two" in texts(page)
    assert "2 / 2" in words(page)
    by_help(page, "Branch before")
    assert "one" in texts(page)
    assert "1 / 2" in words(page)


def test_another_answer_is_a_branch(amira: Talker) -> None:
    talk = amira.begin("one")
    page = amira.open("conversations", id=talk.id)
    by_help(page, "Answer again: a new branch")
    amira.services.talk.wait(amira.actor, talk.id, amira.leaf(talk), 10)
    assert len(amira.services.talk.read(amira.actor, talk.id).messages[-1].siblings) == 2


def test_a_second_tab_keeps_what_was_written_and_says_why(amira: Talker) -> None:
    talk = amira.begin("one")
    page = amira.open("conversations", id=talk.id)
    sent = amira.services.talk.send(amira.actor, talk.id, "from another tab")
    amira.services.talk.wait(amira.actor, talk.id, sent.answer_id, CEILING_S)
    ask(page, "from this tab")
    assert any("perhaps you in another tab" in error.value for error in page.error)
    assert page.text_area(key="unsent-text").value == "from this tab"
    press(page, "Send again")
    assert amira.said(talk)[-2] == "from this tab"


def test_what_is_set_on_a_conversation(amira: Talker) -> None:
    talk = amira.begin("one")
    page = amira.open("conversations", id=talk.id)
    next(one for one in page.text_input if one.label == "Folder").set_value("Research")
    next(one for one in page.text_input if one.label == "Tags").set_value("a, b")
    press(page, "Save settings")
    press(page, "Pin")
    now = amira.services.conversations.get(amira.actor, talk.id)
    assert (now.folder, now.tags, now.is_pinned, now.title) == ("Research", ("a", "b"), True, "Talk")
    press(page, "End")
    assert page.chat_input[0].disabled
    press(page, "Open again")
    assert not page.chat_input[0].disabled


def test_search_leads_to_the_message(amira: Talker) -> None:
    talk = amira.begin("bees of Norway", title="Insects")
    page = amira.open("conversations")
    page.text_input(key="conversation-search").set_value("norw")
    run(page)
    assert "bees of :yellow-background[Norway]" in words(page)
    press(page, "Insects")
    assert page.query_params["id"] in (talk.id, [talk.id])
    found = amira.services.talk.read(amira.actor, talk.id).messages
    assert page.query_params["message"] in [[message.id] for message in found] + [message.id for message in found]
    page.text_input(key="conversation-search").set_value("")
    press(page, "New conversation")
    assert "message" not in page.query_params


def test_a_hit_far_back_is_among_the_messages_that_are_drawn(amira: Talker) -> None:
    talk = amira.begin("the tulip", "two", "three")
    first = amira.services.talk.read(amira.actor, talk.id, 0).path[0]
    page = amira.open("conversations", id=talk.id, message=first.id)
    page.session_state[f"shown-{talk.id}"] = 2
    run(page)
    assert "the tulip" in texts(page)
    assert len(page.chat_message) == 6


def test_an_answer_is_rated_and_the_last_word_counts(amira: Talker) -> None:
    talk = amira.begin("one")
    question, answer = amira.services.talk.read(amira.actor, talk.id).messages
    ratings = amira.services.ratings
    for is_good in (False, True):
        ratings.rate(amira.actor, talk.id, answer.id, is_good=is_good)
        assert ratings.read(amira.actor, talk.id) == {answer.id: is_good}
    page = amira.open("conversations", id=talk.id)
    assert page.session_state[f"rating-{answer.id}"] == 1
    with pytest.raises(InvalidInput, match="no call"):
        ratings.rate(amira.actor, talk.id, question.id, is_good=True)
    with pytest.raises(NotFound):
        ratings.rate(JONAS, talk.id, answer.id, is_good=True)
    (figures,) = amira.services.metrics.statistics(amira.actor, "conversation_rating")
    assert (figures.count, figures.calls) == (2, 1)


@pytest.mark.feature("PLAY-7")
def test_what_does_not_go_to_the_model_is_marked(amira: Talker) -> None:
    talk = amira.begin("one", "two", "three")
    page = amira.open("conversations", id=talk.id)
    page.radio(key="strategy").set_value("last")
    run(page)
    next(one for one in page.number_input if one.label == "Turns").set_value(1)
    run(page)
    page = amira.open("conversations", id=talk.id)
    assert "4 messages are not sent" in words(page)


@pytest.mark.feature("PLAY-7")
def test_a_summary_is_a_marker_that_opens_and_is_undone(amira: Talker) -> None:
    talk = amira.begin("1", "2", "3", "4", "5", "6")
    page = amira.open("conversations", id=talk.id)
    press(page, "Compact now")
    page = amira.open("conversations", id=talk.id)
    assert "Summary instead of the 4 messages above" in [one.label for one in page.expander]
    press(page, "Undo")
    assert not amira.services.talk.read(amira.actor, talk.id).summaries


def test_a_thousand_messages_open_in_half_a_second(amira: Talker) -> None:
    talk = amira.begin("first")
    leaf = amira.leaf(talk)
    first = amira.services.conversations.get(amira.actor, talk.id)
    rows: list[Any] = []
    for n in range(1_000):
        rows.append(
            {
                "id": f"{n:036}",
                "conversation_id": talk.id,
                "owner_id": first.owner_id,
                "parent_id": rows[-1]["id"] if rows else leaf,
                "role": "assistant" if n % 2 else "user",
                "content": f"message {n} " + "with a number of words in it " * 20,
                "parts": [],
                "tokens": 120,
                "status": "ok",
                "model": "",
                "created_at": first.created_at,
            }
        )
    with amira.services.store.write() as connection:
        connection.execute(messages.insert(), rows)
        connection.execute(conversations.update().where(conversations.c.id == talk.id).values(leaf_id=rows[-1]["id"]))
    page = amira.open("conversations", id=talk.id)
    assert len(page.chat_message) == 30
    press(page, "Show 30 older of 972")
    assert len(page.chat_message) == 60
    began = time.process_time()
    amira.services.talk.read(amira.actor, talk.id)
    assert time.process_time() - began < 0.5


def test_what_is_sent_while_the_title_comes_is_not_lost(amira: Talker, monkeypatch: pytest.MonkeyPatch) -> None:
    talk, services = amira.begin("First"), amira.services
    with services.store.write() as connection:
        connection.execute(update(conversations).values(title_source="question", title_call_id=amira.leaf(talk)))
    page, read = amira.open("conversations", id=talk.id), services.talk.read

    def titled(actor: Any, conversation_id: str, most: int) -> Any:  # between the page's own look and the fragment's
        thread = read(actor, conversation_id, most)
        return replace(thread, conversation=replace(thread.conversation, title_source="model")) if most == 1 else thread

    monkeypatch.setattr(services.talk, "read", titled)
    ask(page, "Second")
    monkeypatch.undo()
    assert "Second" in amira.said(talk)


def test_a_conversation_keeps_the_box_it_began_in(amira: Talker) -> None:
    page = ask(amira.open("conversations"), "First")
    began = page.chat_input[0].key
    assert began == "ask-new-0"
    press(page, "New conversation")
    assert page.chat_input[0].key == "ask-new-1"
