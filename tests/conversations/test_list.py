"""The list: folders, tags, pins, the archive, search, titles, deletion."""

import pytest
from sqlalchemy import text

from lib.conversations.conversations import ConversationQuery
from lib.conversations.titles import take_titles
from lib.errors import InvalidInput, NotFound
from tests.calls.rig import AMIRA, JONAS
from tests.conversations.talk_rig import TalkRig
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("PLAY-6")


def names(rig: TalkRig, asked: ConversationQuery | None = None) -> list[str]:
    return [one.name for one in rig.conversations.list(AMIRA, asked)[0]]


def test_pinned_come_first_then_the_newest_and_the_archive_is_apart(rig: TalkRig) -> None:
    first, _, third = (rig.begin("echo", title=title) for title in ("first", "second", "third"))
    rig.conversations.update(AMIRA, first.id, is_pinned=True)
    assert names(rig) == ["first", "third", "second"]
    rig.conversations.update(AMIRA, third.id, is_archived=True)
    assert names(rig) == ["first", "second"]
    assert names(rig, ConversationQuery(archived=True)) == ["third"]


def test_folders_and_tags_narrow_the_list(rig: TalkRig) -> None:
    one = rig.begin("echo", title="one", folder="Research", tags=["r\u00e9sum\u00e9", "a"])
    rig.begin("echo", title="two", tags=["ab"])
    assert names(rig, ConversationQuery(folder="Research")) == ["one"]
    assert names(rig, ConversationQuery(tag="r\u00e9sum\u00e9")) == ["one"]
    assert names(rig, ConversationQuery(tag="a")) == ["one"]
    assert rig.conversations.folders(AMIRA) == ["Research"]
    assert rig.conversations.tags(AMIRA) == ["a", "ab", "r\u00e9sum\u00e9"]
    assert rig.conversations.tags(JONAS) == []
    assert rig.conversations.update(AMIRA, one.id, folder="").folder == ""
    with pytest.raises(InvalidInput):
        rig.conversations.update(AMIRA, one.id, tags=[str(n) for n in range(30)])


def test_search_finds_words_in_ones_own_messages(rig: TalkRig) -> None:
    mine, theirs = rig.begin("say:The quick brown fox"), rig.begin("echo", JONAS)
    rig.ask(mine, 'Tell me of "ledgers" (and foxes)')
    rig.ask(theirs, "Ledgers are mine", JONAS)
    (hit,) = rig.services.conversation_search.messages(AMIRA, "ledg")
    assert (hit.conversation_id, hit.role) == (mine.id, "user")
    assert "ledgers" in hit.excerpt
    assert [one.role for one in rig.services.conversation_search.messages(AMIRA, "fox")] == ["assistant", "user"]
    assert rig.services.conversation_search.messages(AMIRA, "brown QUICK")[0].role == "assistant"
    for odd in ("", "  ", '"', "'); DROP TABLE messages; --", "a AND OR NOT", "col:umn*", "x & | !"):
        rig.services.conversation_search.messages(AMIRA, odd)
    assert rig.services.conversation_search.messages(AMIRA, "nothing here") == []


def test_a_deleted_conversation_is_not_found_any_more_and_its_calls_stay(rig: TalkRig) -> None:
    talk = rig.begin("echo")
    answer = rig.ask(talk, "forgettable")
    rig.services.conversation_files.add(AMIRA, talk.id, [("a.txt", b"text")])
    rig.conversations.delete(AMIRA, talk.id)
    assert rig.services.conversation_search.messages(AMIRA, "forgettable") == []
    assert rig.conversations.count(AMIRA) == 0
    assert len(rig.rows(str(answer.call_id))) == 1
    with pytest.raises(NotFound):
        rig.conversations.delete(AMIRA, talk.id)


def test_the_first_words_are_the_title_until_a_model_finds_one(rig: TalkRig) -> None:
    talk = rig.begin("say:Bees of the north")
    rig.ask(talk, "Which bees live in Norway?  " + "Tell me all. " * 10)
    early = rig.conversations.get(AMIRA, talk.id)
    assert early.title.startswith("Which bees live in Norway? Tell me all.")
    assert len(early.title) <= 60
    call_id = rig.services.titles.suggest(AMIRA, talk.id)
    assert call_id is not None
    assert rig.services.titles.suggest(AMIRA, talk.id) is None
    rig.services.calls.wait(AMIRA, call_id, CEILING_S)
    assert take_titles(rig.services.store) == 1
    assert rig.conversations.get(AMIRA, talk.id).title == "Bees of the north"
    (row,) = rig.rows(call_id)
    assert (row["origin"], row["conversation_id"]) == ("system", talk.id)


def test_a_title_of_ones_own_is_never_replaced(rig: TalkRig) -> None:
    talk = rig.begin("echo")
    rig.ask(talk, "Hello")
    rig.conversations.update(AMIRA, talk.id, title="Mine")
    assert rig.services.titles.suggest(AMIRA, talk.id) is None
    assert rig.conversations.get(AMIRA, talk.id).title == "Mine"


def test_on_postgresql_the_search_uses_its_index(rig: TalkRig) -> None:
    if rig.services.store.is_sqlite:
        return
    with rig.services.store.read() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        found = "to_tsvector('simple', left(content, 200000)) @@ to_tsquery('simple', 'word')"
        plan = "\n".join(connection.scalars(text(f"EXPLAIN SELECT id FROM messages WHERE {found}")))
    assert "message_words" in plan
