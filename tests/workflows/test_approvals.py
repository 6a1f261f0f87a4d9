"""People decide within runs: approved, denied, edited, over; in maps too; withdrawn with the run."""

from typing import Any

import pytest

from lib.approvals.approval import ApprovalState, Decision, Verdict
from lib.workflows.run import RunState
from tests.waiting import until
from tests.workflows.rig import AMIRA, FlowRig, draw, finish, node, start

pytestmark = pytest.mark.feature("FLOW-4")


def ask(**fields: Any) -> dict[str, Any]:
    return draw(
        start("text"),
        node("approval", "check", question="Send {{start.text}}?", data={"reply": "{{start.text}}"}, **fields),
        node("output", "yes", value="'sent ' + check.data.reply + ' by ' + check.by"),
        node("output", "no", value="'kept: ' + check.comment"),
        edges="start>check check:approved>yes check:denied>no",
    )


def decide(rig: FlowRig, verdict: Verdict, **more: Any) -> None:
    (waiting,) = rig.services.approvals.waiting(AMIRA)
    rig.services.approvals.decide(AMIRA, waiting.id, Decision(verdict=verdict, **more))


@pytest.mark.parametrize(
    ("verdict", "more", "output"),
    [
        (Verdict.APPROVE, {}, "sent hello by amira"),
        (Verdict.APPROVE, {"data": {"reply": "bye"}}, "sent bye by amira"),
        (Verdict.DENY, {"comment": "too short"}, "kept: too short"),
    ],
    ids=["approved", "edited", "denied"],
)
def test_a_run_waits_nowhere_for_a_decision_and_goes_the_way_that_was_decided(
    rig: FlowRig, verdict: Verdict, more: dict[str, Any], output: str
) -> None:
    run = rig.finish(ask(), text="hello")
    assert (run.state, run.reason) == (RunState.WAITING, "check waits for a decision.")
    assert rig.services.approvals.waiting(AMIRA)[0].title == "Send hello?"
    decide(rig, verdict, **more)
    until(lambda: rig.services.workflows.runs.get(AMIRA, run.id).state.is_over)
    assert rig.services.workflows.runs.get(AMIRA, run.id).output == output


def test_a_form_is_filled_by_who_decides(rig: FlowRig) -> None:
    fields = [{"name": "amount", "type": "number"}]
    check = node("approval", "check", question="How much?", fields=fields)
    run = rig.finish(draw(start(), check, finish("{{check.data.amount}}"), edges="start>check check:approved>finish"))
    decide(rig, Verdict.APPROVE, data={"amount": 12})
    until(lambda: rig.services.workflows.runs.get(AMIRA, run.id).state.is_over)
    assert rig.services.workflows.runs.get(AMIRA, run.id).output == "12"


def test_each_item_of_a_map_asks_for_itself(rig: FlowRig) -> None:
    part = draw(
        node("approval", "check", question="{{item}}?"),
        node("output", "said", value="item"),
        edges="check:approved>said",
    )
    document = draw(
        start("words"),
        node("map", "each", over="words(start.words)", part="one"),
        finish("{{each.items}}"),
        parts={"one": part},
    )
    run = rig.finish(document, words="a b")
    assert sorted(approval.title for approval in rig.services.approvals.waiting(AMIRA)) == ["a?", "b?"]
    for approval in rig.services.approvals.waiting(AMIRA):
        rig.services.approvals.decide(AMIRA, approval.id, Decision(verdict=Verdict.APPROVE))
    until(lambda: rig.services.workflows.runs.get(AMIRA, run.id).state is RunState.DONE)
    assert rig.services.workflows.runs.get(AMIRA, run.id).output == '["a","b"]'


def test_a_cancelled_run_withdraws_what_it_asks_and_asks_anew_when_it_goes_on(rig: FlowRig) -> None:
    run = rig.finish(ask(), text="x")
    (waiting,) = rig.services.approvals.waiting(AMIRA)
    rig.services.workflows.runs.cancel(AMIRA, run.id)
    assert rig.services.approvals.get(AMIRA, waiting.id).state is ApprovalState.WITHDRAWN
    rig.wait(rig.services.workflows.runs.resume(AMIRA, run.id))
    decide(rig, Verdict.APPROVE)  # it was asked anew
    until(lambda: rig.services.workflows.runs.get(AMIRA, run.id).state.is_over)
    assert rig.services.workflows.runs.get(AMIRA, run.id).output == "sent x by amira"
