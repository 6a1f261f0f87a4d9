"""What goes to the model: strategies, the meter, compaction with its marker, undo and fallback."""

import pytest

from lib.clock import utc_now
from lib.conversations.context import Summary, choose_context
from lib.conversations.conversation import MessageNode
from lib.conversations.strategy import KEPT_TURNS, ContextStrategy, StrategyKind
from lib.errors import InvalidInput, NotFound
from lib.providers.models import ModelFacts
from tests.calls.rig import AMIRA, JONAS
from tests.conversations.talk_rig import TalkRig

pytestmark = pytest.mark.feature("PLAY-7")


def branch(turns: int) -> list[MessageNode]:
    """Questions q1, q2… with answers a1, a2… of ten tokens each."""
    made: list[MessageNode] = []
    for n in range(1, turns + 1):
        made.append(MessageNode(f"q{n}", made[-1].id if made else None, "user", "ok", 10))
        made.append(MessageNode(f"a{n}", f"q{n}", "assistant", "ok", 10))
    return made


def chosen(strategy: ContextStrategy, path: list[MessageNode], *summaries: Summary, system: int = 0) -> list[str]:
    selection = choose_context(path, strategy, {one.until_id: one for one in summaries}, system)
    return [node.id for node in selection.nodes]


def summary(until: str) -> Summary:
    return Summary("s", until, "So far.", 3, None, None, utc_now())


def test_the_strategies_choose_whole_turns_from_the_end() -> None:
    path = branch(4)
    assert chosen(ContextStrategy(), path) == [node.id for node in path]
    assert chosen(ContextStrategy(StrategyKind.LAST, last=2), path) == ["q3", "a3", "q4", "a4"]
    assert chosen(ContextStrategy(StrategyKind.BUDGET, tokens=60), path) == ["q3", "a3", "q4", "a4"]
    assert chosen(ContextStrategy(StrategyKind.BUDGET, tokens=60), path, system=10) == ["q4", "a4"]
    assert chosen(ContextStrategy(StrategyKind.BUDGET, tokens=5), path) == []


def test_a_summary_stands_for_all_up_to_its_last_message_on_its_branch_only() -> None:
    path = branch(4)
    assert chosen(ContextStrategy(), path, summary("a2")) == ["q3", "a3", "q4", "a4"]
    assert chosen(ContextStrategy(), path, summary("elsewhere")) == [node.id for node in path]


def test_an_answer_without_words_is_not_sent() -> None:
    path = [*branch(1), MessageNode("q2", "a1", "user", "ok", 5), MessageNode("a2", "q2", "assistant", "error", 0)]
    assert chosen(ContextStrategy(), path) == ["q1", "a1", "q2"]


def test_the_strategy_of_a_conversation_holds_for_what_is_sent(rig: TalkRig) -> None:
    talk = rig.begin("echo", strategy=ContextStrategy(StrategyKind.LAST, last=1), system_prompt="Be brief.")
    for text in ("one", "two"):
        rig.ask(talk, text)
    answer = rig.ask(talk, "three")
    assert [one["content"] for one in rig.sent(answer.call_id)] == ["Be brief.", "two", "two", "three"]


def test_compaction_keeps_system_prompt_and_last_turns_word_for_word_and_is_undone(rig: TalkRig) -> None:
    talk = rig.begin("echo", system_prompt="Be brief.")
    for number in range(KEPT_TURNS + 2):
        rig.ask(talk, f"question {number}")
    made = rig.services.contexts.compact(AMIRA, talk.id, rig.configuration("say:They counted to one."))
    assert made.text == "They counted to one."
    (row,) = rig.rows(str(made.call_id))
    assert (row["origin"], row["conversation_id"]) == ("system", talk.id)
    sent = rig.sent(rig.ask(talk, "next").call_id)
    assert sent[0] == {"role": "system", "content": "Be brief."}
    assert "They counted to one." in sent[1]["content"]
    assert sent[1]["content"].endswith("question 2")
    assert [one["content"] for one in sent[2:4]] == ["question 2", "question 3"]
    assert not any("question 1" in str(one) for one in sent)
    assert len(rig.words(talk)) == 2 * (KEPT_TURNS + 3)  # nothing is lost
    with pytest.raises(NotFound):
        rig.services.contexts.undo(JONAS, talk.id, made.id)
    rig.services.contexts.undo(AMIRA, talk.id, made.id)
    again = rig.sent(rig.ask(talk, "after").call_id)
    assert again[1]["content"] == "question 0"


def test_where_the_summary_fails_the_oldest_are_left_out_and_the_reason_is_kept(rig: TalkRig) -> None:
    talk = rig.begin("echo")
    for number in range(KEPT_TURNS + 1):
        rig.ask(talk, f"question {number}")
    made = rig.services.contexts.compact(AMIRA, talk.id, rig.configuration("error:500"))
    assert made.text is None
    assert made.error_message
    sent = rig.sent(rig.ask(talk, "next").call_id)
    assert sent[0]["content"] == "question 1"


def test_a_short_conversation_has_nothing_to_compact(rig: TalkRig) -> None:
    talk = rig.begin("echo")
    rig.ask(talk, "Hello")
    with pytest.raises(InvalidInput, match="nothing to put into a summary"):
        rig.services.contexts.compact(AMIRA, talk.id)


def test_the_strategy_summary_compacts_by_itself_before_the_window_is_full(
    rig: TalkRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = rig.configuration("say:short")
    talk = rig.begin("echo", strategy=ContextStrategy(StrategyKind.SUMMARY))
    monkeypatch.setattr(rig.services.overrides, "limits", lambda *_: ModelFacts("say:short", context_tokens=250))
    for number in range(8):
        rig.ask(talk, f"question {number} " + "word " * 15, configuration=slug)
    assert rig.thread(talk).summaries
    meter = rig.services.contexts.meter(AMIRA, rig.thread(talk))
    assert meter.share is not None
    assert meter.share < 1


def test_the_meter_tells_what_goes_and_what_the_next_message_costs(rig: TalkRig) -> None:
    talk = rig.begin("say:" + "word " * 30 + "+priced")
    empty = rig.services.contexts.meter(AMIRA, rig.thread(talk))
    assert (empty.selection.nodes, empty.answer_tokens) == ((), None)
    rig.ask(talk, "A question of some length")
    thread = rig.thread(talk)
    meter = rig.services.contexts.meter(AMIRA, thread)
    assert meter.selection.ids == {message.id for message in thread.messages}
    assert meter.answer_tokens == thread.messages[1].tokens
    assert meter.next_nano == meter.selection.tokens * 2_500 + thread.messages[1].tokens * 10_000
    longer = rig.services.contexts.meter(AMIRA, thread, "and four more words")
    assert longer.next_nano is not None
    assert longer.next_nano > meter.next_nano


def test_an_unknown_price_is_not_free(rig: TalkRig) -> None:
    talk = rig.begin("echo+unpriced")
    rig.ask(talk, "Hello")
    meter = rig.services.contexts.meter(AMIRA, rig.thread(talk))
    assert (meter.next_nano, meter.is_free) == (None, False)
