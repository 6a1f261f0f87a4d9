"""Conversations remember: history, branches, background answers, two tabs, other people."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from lib.clock import make_id, utc_now
from lib.conversations.conversation import Status
from lib.db.tables import messages
from lib.errors import Conflict, InvalidInput, NotFound
from tests.calls.rig import AMIRA, JONAS
from tests.conversations.talk_rig import TalkRig
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("PLAY-6")


def test_every_message_goes_with_the_true_history(rig: TalkRig) -> None:
    talk = rig.begin("echo", system_prompt="Be brief.")
    rig.ask(talk, "My name is Ada.")
    answer = rig.ask(talk, "What is my name?")
    assert rig.sent(answer.call_id) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "My name is Ada."},
        {"role": "user", "content": "What is my name?"},
    ]
    assert rig.words(talk) == ["My name is Ada.", "My name is Ada.", "What is my name?", "What is my name?"]


def test_every_answer_is_a_row_of_the_ledger_and_its_cost_is_shown(rig: TalkRig) -> None:
    talk = rig.begin("echo+priced+usage:1000,500")
    answer = rig.ask(talk, "Hello")
    (row,) = rig.rows(str(answer.call_id))
    assert (row["origin"], row["conversation_id"], row["status"]) == ("conversation", talk.id, "ok")
    rig.ask(talk, "Again")
    thread = rig.thread(talk)
    assert thread.messages[1].cost_nano_usd == row["cost_nano_usd"] == 7_500_000
    assert thread.figures.cost_nano_usd == 15_000_000
    assert thread.figures.calls == 2


def test_an_unknown_cost_is_not_zero(rig: TalkRig) -> None:
    talk = rig.begin("echo+unpriced")
    rig.ask(talk, "Hello")
    thread = rig.thread(talk)
    assert thread.figures.cost_nano_usd is None
    assert thread.figures.unpriced == 1


def test_the_answer_is_written_though_nobody_waits(rig: TalkRig) -> None:
    talk = rig.begin("say:done at last+slow:10ms")
    sent = rig.talk.send(AMIRA, talk.id, "Go")
    assert rig.thread(talk).running is not None
    rig.services.calls.wait(AMIRA, sent.call_id, CEILING_S)
    assert rig.words(talk) == ["Go", "done at last"]
    assert rig.thread(talk).running is None


def test_stop_keeps_what_came(rig: TalkRig) -> None:
    talk = rig.begin("lorem+stall:3")
    sent = rig.talk.send(AMIRA, talk.id, "Go")
    while not rig.services.calls.view(AMIRA, sent.call_id).text:
        pass
    rig.talk.stop(AMIRA, talk.id)
    answer = rig.talk.wait(AMIRA, talk.id, sent.answer_id, CEILING_S)
    assert answer.status == "cancelled"
    assert answer.content


def test_a_failed_answer_says_why_and_is_not_sent_again(rig: TalkRig) -> None:
    talk = rig.begin("error:400")
    failed = rig.ask(talk, "First")
    assert failed.status == "error"
    assert failed.error_message
    answer = rig.ask(talk, "Second", configuration=rig.configuration("echo"))
    assert [one["role"] for one in rig.sent(answer.call_id)] == ["user", "user"]


def test_an_edit_and_a_second_answer_are_branches(rig: TalkRig) -> None:
    talk = rig.begin("echo")
    rig.ask(talk, "one")
    rig.ask(talk, "two")
    first = rig.thread(talk).messages
    sent = rig.talk.edit(AMIRA, talk.id, first[2].id, "two, better")
    rig.talk.wait(AMIRA, talk.id, sent.answer_id, CEILING_S)
    assert rig.words(talk) == ["one", "one", "two, better", "two, better"]
    edited = rig.thread(talk).messages[2]
    assert edited.siblings == (first[2].id, edited.id)
    rig.talk.choose(AMIRA, talk.id, first[2].id)
    assert rig.words(talk) == ["one", "one", "two", "two"]
    sent = rig.talk.regenerate(AMIRA, talk.id, first[3].id, configuration=rig.configuration("say:other"))
    answer = rig.talk.wait(AMIRA, talk.id, sent.answer_id, CEILING_S)
    assert rig.words(talk) == ["one", "one", "two", "other"]
    assert [one["content"] for one in rig.sent(answer.call_id)] == ["one", "one", "two"]
    assert rig.conversations.get(AMIRA, talk.id).configuration_id != talk.configuration_id


def test_of_two_tabs_the_second_is_told(rig: TalkRig) -> None:
    talk = rig.begin("echo")
    rig.ask(talk, "one")
    seen = rig.conversations.get(AMIRA, talk.id).leaf_id
    assert seen is not None
    rig.ask(talk, "from the first tab", last_seen=seen)
    with pytest.raises(Conflict, match="gone on elsewhere"):
        rig.talk.send(AMIRA, talk.id, "from the second tab", last_seen=seen)
    assert rig.words(talk)[-1] == "from the first tab"


def test_nothing_is_sent_while_an_answer_is_written(rig: TalkRig) -> None:
    talk = rig.begin("lorem+stall:1")
    sent = rig.talk.send(AMIRA, talk.id, "Go")
    with pytest.raises(Conflict, match="still being written"):
        rig.talk.send(AMIRA, talk.id, "Go on")
    rig.services.calls.stop(AMIRA, sent.call_id)
    rig.talk.wait(AMIRA, talk.id, sent.answer_id, CEILING_S)


def test_what_can_not_be_sent_leaves_no_trace(rig: TalkRig) -> None:
    talk = rig.begin("echo")
    slug = rig.configuration("echo")
    rig.services.configurations.set_active(AMIRA, slug, False)
    with pytest.raises(InvalidInput, match="switched off"):
        rig.talk.send(AMIRA, talk.id, "Hello", configuration=slug)
    with pytest.raises(InvalidInput, match="empty"):
        rig.talk.send(AMIRA, talk.id, "  ")
    assert rig.thread(talk).messages == ()
    after = rig.conversations.get(AMIRA, talk.id)
    assert (after.leaf_id, after.title, after.configuration_id) == (None, "", talk.configuration_id)


def test_a_configuration_deleted_meanwhile_is_named(rig: TalkRig) -> None:
    talk = rig.begin("echo")
    rig.ask(talk, "Hello")
    rig.services.configurations.delete(AMIRA, str(talk.configuration_id))
    with pytest.raises(InvalidInput, match="does not exist any more"):
        rig.talk.send(AMIRA, talk.id, "Again")
    assert rig.ask(talk, "Again", configuration=rig.configuration("echo")).content == "Again"


def test_somebody_elses_conversation_is_not_there(rig: TalkRig) -> None:
    talk = rig.begin("echo")
    answer = rig.ask(talk, "Hello")
    for deed in (
        lambda: rig.talk.read(JONAS, talk.id),
        lambda: rig.talk.send(JONAS, talk.id, "Hi"),
        lambda: rig.talk.stop(JONAS, talk.id),
        lambda: rig.talk.choose(JONAS, talk.id, answer.id),
        lambda: rig.talk.edit(JONAS, talk.id, answer.id, "x"),
        lambda: rig.talk.regenerate(JONAS, talk.id, answer.id),
        lambda: rig.talk.wait(JONAS, talk.id, answer.id),
        lambda: rig.conversations.get(JONAS, talk.id),
        lambda: rig.conversations.update(JONAS, talk.id, title="x"),
        lambda: rig.conversations.end(JONAS, talk.id),
        lambda: rig.conversations.reopen(JONAS, talk.id),
        lambda: rig.conversations.delete(JONAS, talk.id),
    ):
        with pytest.raises(NotFound):
            deed()
    assert rig.conversations.list(JONAS) == ([], False)
    assert rig.words(talk) == ["Hello", "Hello"]


def test_ended_and_expired_ones_take_nothing_until_they_are_opened_again(rig: TalkRig) -> None:
    talk = rig.begin("echo", ttl_s=3600)
    rig.conversations.end(AMIRA, talk.id)
    with pytest.raises(Conflict, match="ended"):
        rig.talk.send(AMIRA, talk.id, "Hello")
    rig.conversations.reopen(AMIRA, talk.id)
    assert rig.ask(talk, "Hello").content == "Hello"
    now = rig.conversations.get(AMIRA, talk.id)
    assert now.expires_at is not None
    assert now.status(now.expires_at) is Status.EXPIRED


def test_words_are_kept_as_the_content_policy_says(rig: TalkRig) -> None:
    talk = rig.begin("echo")
    with pytest.raises(InvalidInput, match="can't be used in conversations"):
        rig.talk.send(AMIRA, talk.id, "Hi", configuration=rig.configuration("echo", content_policy="metadata"))
    rig.ask(talk, "Write to ada@example.org", configuration=rig.configuration("echo", content_policy="redacted"))
    assert all("ada@example.org" not in said for said in rig.words(talk))


def test_a_question_that_was_never_sent_is_given_up_after_a_minute(rig: TalkRig) -> None:
    talk = rig.begin("echo")
    rig.ask(talk, "Hello")
    leaf = rig.conversations.get(AMIRA, talk.id).leaf_id

    def lost(at: datetime) -> str:
        """As a process leaves it that dies between writing the message and opening the call."""
        values = {"call_id": make_id(), "status": "running", "created_at": at}
        with rig.services.store.write() as connection:
            connection.execute(update(messages).where(messages.c.id == leaf).values(**values))
        return rig.thread(talk).messages[-1].status

    assert lost(utc_now()) == "running"
    assert rig.talk.answering(AMIRA, rig.thread(talk).messages[-1]) is None
    assert lost(utc_now() - timedelta(minutes=2)) == "orphaned"
    assert "was not sent" in str(rig.thread(talk).messages[-1].error_message)
    assert rig.ask(talk, "Again").content == "Again"
