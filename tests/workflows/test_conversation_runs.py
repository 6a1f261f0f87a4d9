"""Workflows asked in a conversation: the output is the answer, written when the run is over, whatever becomes of it."""

import pytest

from lib.conversations.answers import settle
from lib.conversations.conversation import Message
from lib.errors import Conflict, InvalidInput, NotFound
from lib.workflows.run import RunState, Trigger
from tests.workflows.rig import AMIRA, JONAS, FlowRig, draw, finish, node, start

pytestmark = [pytest.mark.feature("FLOW-9"), pytest.mark.feature("PLAY-6")]


def read(rig: FlowRig, conversation_id: str) -> list[Message]:
    return list(rig.services.talk.read(AMIRA, conversation_id, 0).messages)


def test_the_output_of_a_run_is_the_answer_and_the_model_goes_on_from_it(rig: FlowRig) -> None:
    services = rig.services
    conversation = services.conversations.create(AMIRA, configuration=rig.configure("echo"))
    count = "'heard ' + string(size(start.messages)) + ' ' + start.text"
    fields = [{"name": "text"}, {"name": "messages", "type": "json"}]
    workflow = rig.make(
        draw(node("input", "start", fields=fields), node("transform", "t", value=count), finish("{{t}}"))
    )
    run = services.workflows.conversation_runs.start(AMIRA, conversation.id, workflow, "hello")
    assert (run.trigger, run.inputs["text"]) == (Trigger.CONVERSATION, "hello")
    rig.wait(run)
    question, answer = read(rig, conversation.id)
    assert (question.role, question.content) == ("user", "hello")
    assert (answer.id, answer.status, answer.content) == (run.id, "ok", "heard 1 hello")
    assert answer.model == f"workflow/{workflow}"
    again = services.workflows.conversation_runs.start(AMIRA, conversation.id, workflow, "more", last_seen=answer.id)
    rig.wait(again)
    assert read(rig, conversation.id)[-1].content == "heard 3 more"
    sent = services.talk.send(AMIRA, conversation.id, "and you?")
    assert services.talk.wait(AMIRA, conversation.id, sent.answer_id).status == "ok"


def test_while_a_run_waits_nothing_else_is_asked_and_its_end_is_written(rig: FlowRig) -> None:
    services = rig.services
    conversation = services.conversations.create(AMIRA, configuration=rig.configure("echo"))
    workflow = rig.make(draw(start("text"), node("wait", "hold", signal="go"), finish("x")))
    run = services.workflows.conversation_runs.start(AMIRA, conversation.id, workflow, "hello")
    assert rig.wait(run).state is RunState.WAITING
    assert settle(services.store) == 0
    assert read(rig, conversation.id)[-1].running
    with pytest.raises(Conflict):
        services.talk.send(AMIRA, conversation.id, "hello?")
    services.workflows.runs.cancel(AMIRA, run.id)
    answer = read(rig, conversation.id)[-1]
    assert (answer.status, answer.content) == ("cancelled", "")
    assert answer.error_message == "The workflow is cancelled. It was cancelled."


def test_what_can_not_be_asked_writes_nothing(rig: FlowRig) -> None:
    services = rig.services
    configuration = rig.configure("echo")
    conversation = services.conversations.create(AMIRA, configuration=configuration)
    workflow = rig.make(draw(start("text", "more"), finish("x")))
    with pytest.raises(InvalidInput, match="more is missing"):
        services.workflows.conversation_runs.start(AMIRA, conversation.id, workflow, "hello")
    services.workflows.definitions.describe(AMIRA, workflow, is_active=False)
    with pytest.raises(Conflict):
        services.workflows.conversation_runs.start(AMIRA, conversation.id, workflow, "hello", {"more": "x"})
    with pytest.raises(NotFound):
        services.workflows.conversation_runs.start(AMIRA, JONAS.user_id or "", workflow, "hello", {"more": "x"})
    masked = services.configurations.get(AMIRA, configuration)
    services.configurations.update(AMIRA, masked.id, masked.revision, content_policy="redacted")
    ask = rig.make(draw(start("text"), node("prompt", "p", configuration=configuration, prompt="x"), finish("{{p}}")))
    with pytest.raises(InvalidInput, match="does not keep all words"):
        services.workflows.conversation_runs.start(AMIRA, conversation.id, ask, "hello")
    assert read(rig, conversation.id) == []
