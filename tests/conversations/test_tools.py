"""Tools in conversations: one message holds the rounds, which go to the model again with the next question."""

import json

import pytest

from lib.approvals.approval import Decision, Verdict
from lib.configs.tool_rules import ToolRules
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Measure
from lib.tools.native import NativeTools
from tests.calls.rig import AMIRA
from tests.conversations.talk_rig import TalkRig
from tests.waiting import CEILING_S, until

pytestmark = pytest.mark.feature("TOOL-2")


def begin(rig: TalkRig, script: str, *names: str) -> str:
    slug = rig.configuration(script, tools=ToolRules(names=names).to_record())
    return rig.conversations.create(AMIRA, configuration=slug).id


@pytest.mark.feature("CALL-9")
@pytest.mark.feature("PLAY-6")
def test_an_answer_holds_its_tool_calls_and_results_and_the_next_question_sends_them(rig: TalkRig) -> None:
    conversation_id = begin(rig, "call:calculate,nothing+say:It is 42.", "calculate")
    conversation = rig.conversations.get(AMIRA, conversation_id)
    answer = rig.ask(conversation, '{"expression": "20 + 22"}')
    (first_turn,) = [message for message in rig.thread(conversation).messages if message.role == "assistant"]
    turn = rig.talk.turn(AMIRA, answer)
    assert turn is not None
    rounds = [rig.rows(step.call.call_id)[-1]["prompt_tokens"] for step in turn.steps]
    assert (first_turn.prompt_tokens, len(rounds)) == (sum(rounds), 2)
    assert (answer.content, answer.status) == ("It is 42.", "ok")
    counts = rig.services.statistics.pivot(AMIRA, StatisticsFilter(), [], [Measure.CALLS, Measure.QUESTIONS]).iloc[0]
    assert (counts.calls, counts.questions) == (2, 1)
    asked, unknown, first, second = answer.parts
    assert (asked["type"], asked["name"], asked["round"]) == ("tool_call", "calculate", 0)
    results = {part["name"]: part for part in (first, second)}
    assert json.loads(results["calculate"]["text"]) == {"text": "42", "value": 42}
    assert results["nothing"]["status"] == "unknown_tool"
    assert unknown["name"] == "nothing"
    assert len(rig.thread(conversation).messages) == 2
    again = rig.ask(conversation, "Thanks")
    roles = [message["role"] for message in rig.sent(again.call_id)]
    assert roles == ["user", "assistant", "tool", "tool", "assistant", "user"]
    assert [execution.conversation_id for execution in turn.executions] == [conversation_id] * 2


@pytest.mark.feature("TOOL-6")
def test_an_answer_waits_for_a_decision_and_is_found_again(rig: TalkRig) -> None:
    rung = []

    def ring(note: str = "") -> str:
        """Ring the bell."""
        rung.append(note)
        return "It rang."

    native = NativeTools()
    native.register(ring)
    rig.services.tools.sources.append(native)
    conversation_id = begin(rig, "call:ring+say:Done.", "ring")
    sent = rig.talk.send(AMIRA, conversation_id, '{"note": "a"}')
    rig.services.turns.wait(AMIRA, sent.call_id, CEILING_S)
    waiting = rig.talk.read(AMIRA, conversation_id).running
    assert waiting is not None
    assert rig.talk.answering(AMIRA, waiting) is not None
    (approval,) = rig.services.approvals.waiting(AMIRA)
    assert (approval.conversation_id, rung) == (conversation_id, [])
    rig.services.approvals.decide(AMIRA, approval.id, Decision(verdict=Verdict.APPROVE))
    until(lambda: rig.talk.read(AMIRA, conversation_id).running is None)
    answer = rig.talk.read(AMIRA, conversation_id).messages[-1]
    assert (answer.content, answer.status, rung) == ("Done.", "ok", ["a"])


@pytest.mark.feature("TOOL-6")
def test_a_document_in_the_conversation_makes_tools_ask(rig: TalkRig) -> None:
    def ring() -> str:
        """Ring the bell."""
        return "It rang."

    native = NativeTools()
    native.register(ring)
    rig.services.tools.sources.append(native)
    rules = {"names": ["ring"], "approval": {"ring": "auto"}}
    slug = rig.configuration("call:ring+say:Done.", tools=rules)
    conversation = rig.conversations.create(AMIRA, configuration=slug)
    assert rig.ask(conversation, "{}").status == "ok"
    (file,) = rig.services.conversation_files.add(AMIRA, conversation.id, [("letter.txt", b"Ring the bell.")])
    sent = rig.talk.send(AMIRA, conversation.id, "{}", files=[file.id])
    rig.services.turns.wait(AMIRA, sent.call_id, CEILING_S)
    (approval,) = rig.services.approvals.waiting(AMIRA)
    assert approval.reason == "a document from outside is in this conversation"
    rig.talk.stop(AMIRA, conversation.id)
    stopped = rig.talk.read(AMIRA, conversation.id).messages[-1]
    assert (stopped.status, stopped.parts[-1]["status"]) == ("cancelled", "stopped")
