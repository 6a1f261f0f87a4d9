"""What changes while a run goes: a budget ends, a configuration goes, a template or the program has a new version.

The run says which node and why, loses nothing, and goes on when that is mended.
"""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import select, update

from lib.access.permissions import OPERATOR
from lib.db.tables import workflow_versions
from lib.errors import Conflict
from lib.prompts.template import VersionDraft
from lib.workflows.run import Run, RunState
from tests.counts import FULL
from tests.waiting import until
from tests.workflows.rig import AMIRA, FlowRig, draw, finish, node, start

pytestmark = pytest.mark.feature("FLOW-2")


@pytest.fixture(params=["sqlite", "postgresql"] if FULL else ["sqlite"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Both stores in the proof."""
    return str(request.param)


@pytest.fixture(autouse=True)
def fresh_plans(rig: FlowRig) -> None:
    """A changed configuration counts at once."""
    rig.services.calls.plans.same_for_s = 0.0


def hold_after_first(rig: FlowRig, second: dict[str, Any]) -> Run:
    """Begin a run that has paid for its first step and waits before its second one."""
    first = node("prompt", "first", configuration=rig.configure("say:one+usage:1000,100+priced"), prompt="1")
    run = rig.finish(draw(start(), first, node("wait", "hold", signal="go"), second, finish("{{first}} {{second}}")))
    assert (run.state, run.cost_nano_usd) == (RunState.WAITING, 3_500_000)
    return run


def go_on(rig: FlowRig, run: Run) -> Run:
    """Let it begin its second step."""
    rig.services.workflows.runs.signal(AMIRA, run.id, "go")
    until(lambda: not rig.services.workflows.runs.get(AMIRA, run.id).state.is_at_work)
    until(lambda: rig.services.workflows.runs.get(AMIRA, run.id).state is not RunState.WAITING)
    return rig.wait(run)


def test_a_budget_that_ends_in_mid_run_stops_it_and_a_raised_one_lets_it_go_on(rig: FlowRig) -> None:
    slug = rig.configure("say:two+usage:1000,100+priced")
    run = hold_after_first(rig, node("prompt", "second", configuration=slug, prompt="2"))
    budgets = rig.services.budgets
    budget = budgets.create(OPERATOR, scope="app", subject="workflows", period="month", limit_nano=1_000)
    failed = go_on(rig, run)
    assert (failed.state, failed.failed_step, failed.cost_nano_usd) == (RunState.FAILED, "second", 3_500_000)
    assert "budget" in failed.reason
    budgets.delete(OPERATOR, budget.budget.id)
    done = rig.wait(rig.services.workflows.runs.resume(AMIRA, run.id))
    assert (done.state, done.output, done.cost_nano_usd) == (RunState.DONE, "one two", 7_000_000)
    assert len(rig.steps(done)["first"].calls) == 1


def test_a_run_whose_configuration_was_deleted_says_so_and_goes_on_when_there_is_one_again(rig: FlowRig) -> None:
    slug = rig.configure("say:two")
    run = hold_after_first(rig, node("prompt", "second", configuration=slug, prompt="2"))
    rig.services.configurations.delete(AMIRA, rig.services.configurations.get(AMIRA, slug).id)
    failed = go_on(rig, run)
    assert (failed.state, failed.failed_step) == (RunState.FAILED, "second")
    assert slug in failed.reason
    rig.services.configurations.create(AMIRA, slug=slug, app="tests", provider="scripted", model="say:two")
    done = rig.wait(rig.services.workflows.runs.resume(AMIRA, run.id))
    assert (done.state, done.output) == (RunState.DONE, "one two")
    assert len(rig.steps(done)["first"].calls) == 1


def test_a_step_that_was_cut_goes_on_with_the_template_it_began_with(rig: FlowRig) -> None:
    prompts = rig.services.prompts
    prompts.create(AMIRA, "greeting", VersionDraft("Hello"))
    prompts.move_label(AMIRA, "greeting", "production", 1)
    ask = [
        node("prompt", name, configuration=rig.configure("echo+wait:100ms"), template="greeting") for name in ("a", "b")
    ]
    workflow = rig.make(draw(start(), *ask, finish("{{a}} {{b}}")))
    run = rig.services.workflows.runs.start(AMIRA, workflow, {}, launches=False)
    interpreter = rig.services.workflows.interpreter

    async def cut_in_flight() -> None:
        execution = asyncio.ensure_future(interpreter.execute(run.id))
        await asyncio.to_thread(until, lambda: "a" in rig.steps(run) and rig.steps(run)["a"].calls)
        execution.cancel()
        await asyncio.gather(execution, return_exceptions=True)

    asyncio.run(cut_in_flight())
    assert prompts.save(AMIRA, "greeting", VersionDraft("Good day"), 1).version == 2
    prompts.move_label(AMIRA, "greeting", "production", 2)
    asyncio.run(interpreter.execute(run.id))
    ended = rig.services.workflows.runs.get(AMIRA, run.id)
    assert (ended.state, ended.output) == (RunState.DONE, "Hello Good day")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("kind", "telepathy", "The node second can't be used. Its kind is 'telepathy'"),
        ("mood", "sunny", "The node second can't be used. There is no field mood"),
    ],
)
def test_a_process_older_than_a_definition_says_which_node_and_loses_nothing(
    rig: FlowRig, field: str, value: str, said: str
) -> None:
    run = hold_after_first(rig, node("transform", "second", value="'two'"))
    of_run = (workflow_versions.c.workflow_id == run.workflow_id,)
    with rig.services.store.read() as connection:
        written = connection.scalar(select(workflow_versions.c.definition).where(*of_run)) or ""
    newer = json.loads(written)
    [second] = [each for each in newer["nodes"] if each["id"] == "second"]
    second[field] = value

    def store_definition(text: str) -> None:
        with rig.services.store.write() as connection:
            connection.execute(update(workflow_versions).where(*of_run).values(definition=text))

    store_definition(json.dumps(newer))
    paused = go_on(rig, run)
    assert paused.state is RunState.PAUSED
    assert paused.reason.startswith(f"A newer version of the program has written this definition. {said}")
    with pytest.raises(Conflict, match="newer version"):
        rig.services.workflows.runs.definition(AMIRA, run.id)
    store_definition(written)  # as the newer process reads it
    assert rig.wait(rig.services.workflows.runs.resume(AMIRA, run.id)).output == "one two"
    assert len(rig.steps(run)["first"].calls) == 1


def test_a_map_over_more_than_it_may_says_how_many_and_fails_before_it_pays(rig: FlowRig) -> None:
    fields = [{"name": "members", "type": "json", "default": [*range(10_001)]}]
    each = node("map", "each", over="start.members", part="one", limit=10_000)
    part = {"one": draw(node("prompt", "ask", configuration=rig.configure("echo"), prompt="{{item}}"))}
    run = rig.finish(draw(node("input", "start", fields=fields), each, finish("{{each.count}}"), parts=part))
    assert (run.state, run.failed_step) == (RunState.FAILED, "each")
    assert run.reason == "The list has 10,001 members; the limit of this map is 10,000."
    assert rig.count_calls() == 0
