"""Candidates of experiments that are workflows, or models with tools: answered, priced and scored like any other."""

from typing import Any

import pytest

from lib.configs.tool_rules import ApprovalPolicy, ToolRules
from lib.errors import InvalidInput
from lib.experiments.experiment import CellState, Experiment, ExperimentState
from lib.experiments.plan import ExperimentDraft
from lib.workflows.definition import Field
from lib.workflows.run import Trigger
from lib.workflows.triggers.experiment_candidates import fill_fields
from tests.waiting import CEILING_S
from tests.workflows.rig import AMIRA, FlowRig, draw, finish, node, start

pytestmark = pytest.mark.feature("PLAY-4")
ROWS = [{"prompt": f"word {n}", "expected": f"word {n}"} for n in range(2)]
SUM = '{"expression": "20 + 22"}'


def run(rig: FlowRig, draft: ExperimentDraft) -> Experiment:
    made = rig.services.experiments.create(AMIRA, draft)
    rig.services.experiments.start(AMIRA, made)
    return rig.services.experiments.wait(AMIRA, made, CEILING_S)


def test_a_workflow_is_compared_with_a_configuration(rig: FlowRig) -> None:
    experiments = rig.services.experiments
    echo = rig.configure("echo+usage:1000,100+priced")
    twice = [node("prompt", f"p{n}", configuration=echo, prompt="{{start.text}}") for n in (1, 2)]
    workflow = rig.make(draw(start("text"), *twice, finish("{{p2}}!")))
    candidates = [experiments.candidate(AMIRA, name) for name in (echo, f"workflow/{workflow}")]
    assert candidates[1].name == f"workflow/{workflow} v1"
    draft = ExperimentDraft("Both", candidates, ROWS, [{"kind": "exact"}], parallel=2)
    quote = experiments.quote(AMIRA, draft)
    done = run(rig, draft)
    assert (done.state, done.cells) == (ExperimentState.DONE, {CellState.DONE: 4})
    assert done.spent_nano_usd == 2 * 3 * 3_500_000
    assert quote.high_nano is not None
    assert quote.high_nano >= done.spent_nano_usd
    lines = experiments.lines(AMIRA, done.id)
    assert [[cell.answer for cell in line.cells] for line in lines] == [[f"word {n}", f"word {n}!"] for n in range(2)]
    cell = lines[0].cells[1]
    assert (cell.total_tokens, cell.answer_cost_nano_usd) == (2200, 7_000_000)
    runs = rig.services.workflows.runs.list(AMIRA, workflow)
    assert {made.trigger for made in runs} == {Trigger.EXPERIMENT}
    with pytest.raises(InvalidInput, match="not promoted"):
        experiments.promote(AMIRA, done.id, 1, "configuration")
    with pytest.raises(InvalidInput, match="prompts of its own"):
        experiments.candidate(AMIRA, f"workflow/{workflow}", "template")


def test_a_run_that_would_wait_for_a_person_is_a_cell_that_failed_and_a_cap_is_kept(rig: FlowRig) -> None:
    experiments = rig.services.experiments
    echo = rig.configure("echo+usage:1000,100+priced")
    ask = node("prompt", "p", configuration=echo, prompt="{{start.text}}", parameters={"max_tokens": 100})
    waits = rig.make(draw(start("text"), ask, node("wait", "hold", signal="go"), finish("x")))
    candidate = experiments.candidate(AMIRA, f"workflow/{waits}")
    high = experiments.quote(AMIRA, ExperimentDraft("Waits", [candidate], ROWS)).high_nano or 0
    done = run(rig, ExperimentDraft("Waits", [candidate], ROWS, parallel=1, cap_nano_usd=high))
    cells = [line.cells[0] for line in experiments.lines(AMIRA, done.id)]
    assert cells[0].state is CellState.FAILED
    assert "waits for the signal go" in (cells[0].error or "")
    assert 0 < (done.spent_nano_usd or 0) <= high


@pytest.mark.parametrize("policy", [ApprovalPolicy.AUTO, ApprovalPolicy.ASK])
def test_a_model_with_tools_uses_them_unless_a_person_has_to_be_asked(rig: FlowRig, policy: ApprovalPolicy) -> None:
    experiments = rig.services.experiments
    rules = ToolRules(names=("calculate",), approval={"calculate": policy})
    slug = rig.configure("call:calculate+say:It is 42.+usage:1000,100+priced")
    made = rig.services.configurations.get(AMIRA, slug)
    changes: dict[str, Any] = {"tools": rules.to_record()}
    rig.services.configurations.update(AMIRA, made.id, made.revision, **changes)
    draft = ExperimentDraft("Tools", [experiments.candidate(AMIRA, slug)], [{"prompt": SUM}])
    done = run(rig, draft)
    cell = experiments.lines(AMIRA, done.id)[0].cells[0]
    if policy is ApprovalPolicy.ASK:
        assert (cell.state, "has to be allowed by a person" in (cell.error or "")) == (CellState.FAILED, True)
        assert rig.services.approvals.waiting(AMIRA) == []
    else:
        assert (cell.state, cell.answer, cell.answer_cost_nano_usd) == (CellState.DONE, "It is 42.", 7_000_000)
        with pytest.raises(InvalidInput, match="what they return can't be known"):
            experiments.quote(AMIRA, ExperimentDraft("Tools", draft.candidates, draft.rows, cap_nano_usd=1))


def test_a_row_fills_a_form() -> None:
    fields = [Field(name="text"), Field(name="n")]
    assert fill_fields(fields, {"prompt": "a", "n": "1", "expected": "x"}) == {"text": "a", "n": "1"}
    assert fill_fields(fields, {"prompt": "a", "text": "b", "n": ""}) == {"text": "b"}
