"""An answer that several calls write, one after the other, ends with the last one."""

import pytest
from sqlalchemy import insert, update

from lib.calls.request import CallRequest, Origin, Within
from lib.clock import new_id, utc_now
from lib.conversations import turns
from lib.conversations.conversation import Conversation
from lib.db.tables import processes
from lib.ledger.recovery import UNSEEN
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Measure
from tests.calls.rig import AMIRA
from tests.conversations.talk_rig import TalkRig
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("CALL-9")
TOOL_CALL = {"type": "tool_call", "id": "t1", "name": "clock", "arguments": "{}"}


@pytest.fixture
def process_id(rig: TalkRig) -> str:
    """A process that is alive."""
    process_id = new_id()
    now = utc_now()
    with rig.services.store.write() as connection:
        row = {"id": process_id, "host": "elsewhere", "pid": 1, "started_at": now, "seen_at": now}
        connection.execute(insert(processes), row)
    return process_id


def begin_turn(rig: TalkRig, talk: Conversation, process_id: str) -> tuple[str, str]:
    """A question whose first call has ended while its answer is held; ids of answer and call."""
    sent = rig.talk.send(AMIRA, talk.id, "What time is it?")
    assert turns.hold(rig.services.store, sent.answer_id, process_id)
    rig.services.calls.wait(AMIRA, sent.call_id, CEILING_S)
    return sent.answer_id, sent.call_id


def test_an_answer_goes_on_until_its_last_call_has_ended(rig: TalkRig, process_id: str) -> None:
    talk = rig.begin("say:I look+priced+usage:1000,500+slow:100ms")
    store = rig.services.store
    answer_id, first = begin_turn(rig, talk, process_id)
    assert rig.thread(talk).running is not None
    turns.add_parts(store, answer_id, [TOOL_CALL])
    second = new_id()
    assert turns.follow(store, answer_id, second)
    assert turns.follow(store, answer_id, second), "twice is once"
    messages = [{"role": "user", "content": "It is noon"}]
    within = Within(parent_call_id=first)
    rig.services.calls.start(
        CallRequest(AMIRA, messages, rig.configuration("echo+priced+usage:1000,500"), origin=Origin.CONVERSATION,
                    conversation_id=talk.id, call_id=second, within=within)
    )  # fmt: skip
    assert turns.release(store, answer_id)
    answer = rig.talk.wait(AMIRA, talk.id, answer_id, CEILING_S)
    assert (answer.status, answer.content, answer.call_ids) == ("ok", "It is noon", (first, second))
    assert answer.parts[0] == TOOL_CALL
    shown = rig.thread(talk).messages[-1]
    assert (shown.cost_nano_usd, shown.prompt_tokens) == (15_000_000, 2000)
    counts = rig.services.statistics.pivot(AMIRA, StatisticsFilter(), [], [Measure.CALLS, Measure.QUESTIONS]).iloc[0]
    assert (counts.calls, counts.questions) == (2, 1)
    assert not turns.release(store, answer_id)
    assert not turns.follow(store, answer_id, new_id()), "it is over"


def test_what_a_dead_process_held_ends_as_its_last_call_did(rig: TalkRig, process_id: str) -> None:
    talk = rig.begin("say:I look+slow:100ms")
    begin_turn(rig, talk, process_id)
    assert rig.thread(talk).running is not None
    with rig.services.store.write() as connection:
        gone = update(processes).where(processes.c.id == process_id)
        connection.execute(gone.values(seen_at=utc_now() - UNSEEN * 2))
    assert rig.words(talk)[-1] == "I look"
    assert rig.thread(talk).running is None
