"""Runs of workflows hold words of strangers: shown to whom they belong, kept as was told, never taken for ours."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from lib.access.grants import KeyGrant
from lib.access.permissions import Role, make_actor
from lib.db.tables import approvals, audit_log, webhook_outbox, workflow_actions, workflow_runs, workflow_steps
from lib.errors import NotFound
from lib.ledger.content_policy import NOT_SHOWN
from lib.limited import rules
from lib.settings import Settings
from lib.tools.native import READS_ONLY, NativeTools
from lib.tools.tool import ToolOutput
from lib.workflows.run import RunState, Trigger
from tests.waiting import CEILING_S
from tests.workflows.rig import AMIRA, JONAS, FlowRig, draw, finish, node, start

pytestmark = [pytest.mark.feature("FLOW-1"), pytest.mark.feature("ACC-4")]
ODD = ["a\0b", "a\ud800b", "data:x", "x" * 12 + ":y"]
LEADER = make_actor("u9", "lea", Role.MASTER_DEVELOPER)


@pytest.fixture
def rig(settings: Settings, database_url: str) -> Iterator[FlowRig]:
    made = FlowRig(replace(settings, database_url=database_url))
    native = NativeTools()

    def repeat(text: str, is_error: bool = False) -> ToolOutput:
        """Repeat a text."""
        return ToolOutput(text, {"sealed": text}, is_error=is_error)

    native.register(repeat, READS_ONLY)
    made.services.tools.sources.append(native)
    yield made
    made.services.close()


def test_no_text_of_a_run_breaks_it_or_who_reads_it(rig: FlowRig) -> None:
    runs = rig.services.workflows.runs
    ask = node("tool", "ask", tool="repeat", arguments={"text": "{{start.sealed}}"})
    fails = node("tool", "fail", tool="repeat", arguments={"text": "{{start.sealed}}", "is_error": True})
    whole = rig.make(draw(start("sealed"), ask, finish("{{ask.data.sealed}}")))
    broken = rig.make(draw(start("sealed"), fails, finish("x")))
    waits = rig.make(draw(start(), node("wait", "w", signal="s"), finish("x")))
    for odd in ODD:
        done = rig.finish(whole, AMIRA, sealed=odd)
        assert (done.state, done.reason) == (RunState.DONE, ""), odd
        failed = rig.finish(broken, AMIRA, sealed=odd)
        assert failed.state is RunState.FAILED, odd
        runs.signal(AMIRA, rig.start(waits).id, "s", {"sealed": odd})
        assert (done.output, done.inputs) == (odd, {"sealed": odd})
        assert runs.step(AMIRA, done.id, "start").output == {"sealed": odd}
        assert runs.rerun(AMIRA, done.id, launches=False).inputs == {"sealed": odd}
    assert len(runs.list(AMIRA)) == 4 * len(ODD)
    assert all(runs.steps(AMIRA, run.id) is not None for run in runs.list(AMIRA))


def test_why_a_run_failed_is_told_to_whom_it_belongs(rig: FlowRig) -> None:
    runs = rig.services.workflows.runs
    check = node("condition", "check", when="start.word")
    document = draw(start("word"), check, finish("x"), edges="start>check check:true>finish")
    run = rig.finish(document, JONAS, word="a secret")
    assert "a secret" in run.reason
    assert "a secret" in runs.step(JONAS, run.id, "check").error
    seen = runs.get(LEADER, run.id)
    steps = [*runs.steps(LEADER, run.id), *runs.outline(LEADER, run.id), runs.step(LEADER, run.id, "check")]
    assert (seen.state, seen.failed_step, seen.reason) == (RunState.FAILED, "check", NOT_SHOWN)
    assert "a secret" not in f"{seen} {steps}"
    assert {step.error for step in steps if step.path == "check"} == {NOT_SHOWN}
    assert "a secret" in runs.get(make_actor("u8", "sue", Role.SUPER_ADMIN), run.id).reason


def test_a_run_whose_words_are_not_kept_leaves_none_in_any_column(rig: FlowRig) -> None:
    services = rig.services
    slug = rig.configure("echo")
    configuration = services.configurations.get(AMIRA, slug)
    services.configurations.update(AMIRA, configuration.id, configuration.revision, content_policy="metadata")
    ask = node("prompt", "ask", configuration=slug, prompt="{{start.word}}")
    check = node("condition", "check", when="start.word")
    document = draw(start("word"), ask, check, finish("x"), edges="start>ask ask>check check:true>finish")
    options: dict[str, Any] = {"trigger": Trigger.SCHEDULE, "launches": True}
    run = rig.wait(services.workflows.runs.start(AMIRA, rig.make(document), {"word": "a secret"}, **options))
    assert run.state is RunState.FAILED
    assert "a secret" in run.reason, "whose it is may read it while it can go on"
    question = node("approval", "agree", question="{{start.word}}?", data={"word": "{{start.word}}"})
    document = draw(start("word"), ask, question, finish("x"), edges="start>ask ask>agree agree:approved>finish")
    assert rig.finish(document, AMIRA, word="a secret").state is RunState.WAITING
    (waiting,) = services.approvals.waiting(AMIRA)
    assert (waiting.title, waiting.data) == ("agree", {"question": "a secret?", "word": "a secret"})
    with services.store.read() as reading:
        for table in (workflow_runs, workflow_steps, workflow_actions, webhook_outbox, approvals, audit_log):
            for row in reading.execute(select(table)).mappings():
                assert "a secret" not in json.dumps(dict(row), default=str), table.name


def test_an_expression_in_the_child_holds_no_other_run_up(rig: FlowRig, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()
    ready = threading.Event()

    def compute_when_asked(source: str, values: object) -> object:
        begun.set()
        return [ready.wait(CEILING_S)]

    monkeypatch.setattr(rules, "compute_expression", compute_when_asked)
    slow = rig.start(draw(start(), node("transform", "t", value="[1].map(i, i)"), finish("slow")))
    assert begun.wait(CEILING_S)
    assert rig.finish(draw(start(), node("transform", "t", value="1 + 1"), finish("{{t}}"))).output == "2"
    ready.set()
    assert rig.wait(slow).output == "slow"


def test_a_key_reads_no_run_of_a_workflow_that_it_may_not_run(rig: FlowRig) -> None:
    runs = rig.services.workflows.runs
    mine = rig.finish(rig.make(draw(start("word"), finish("{{start.word}}")), "mine"), AMIRA, word="a secret")
    rig.finish(rig.make(draw(start(), finish("x")), "yours"), AMIRA)
    of_yours = replace(AMIRA, key=KeyGrant("k", "bot", models=("workflow/yours",)))
    assert [run.slug for run in runs.list(of_yours)] == ["yours"]
    for read in (runs.get, runs.steps, runs.outline, runs.cancel, runs.rerun, runs.resume):
        with pytest.raises(NotFound):
            read(of_yours, mine.id)
    assert runs.get(replace(AMIRA, key=KeyGrant("k", "bot")), mine.id).output == "a secret"
