"""Runs that outlive their process: nothing that was paid is paid again; cancel, pause, cap, re-run, quote."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from lib.clock import utc_now
from lib.db.tables import usage_logs, workflow_runs
from lib.errors import Conflict
from lib.services import Services
from lib.settings import Settings
from lib.workflows.journal import Journal, keep_runs
from lib.workflows.launching import WATCHED_S
from lib.workflows.run import RunLost, RunState
from tests.counts import repeats
from tests.waiting import until
from tests.workflows.rig import AMIRA, FlowRig, draw, finish, node, start

PROJECT = Path(__file__).resolve().parent.parent.parent
TEN = 8  # prompts between an input and an output
_EXECUTE = """
import asyncio, sys
from pathlib import Path
from lib import services
from lib.settings import Settings
services = services.build(Settings(data_dir=Path(sys.argv[1]), database_url=sys.argv[2]))
print("ready", flush=True)
asyncio.run(services.workflows.interpreter.execute(sys.argv[3]))
services.close()
"""


def ten_steps(rig: FlowRig, script: str = "echo+wait:30ms+usage:1000,100+priced") -> dict[str, Any]:
    slug = rig.configure(script)
    prompts = [
        node(
            "prompt", f"p{n}", configuration=slug, prompt=f"{n} {{{{{'start.text' if n == 1 else f'p{n - 1}.text'}}}}}"
        )
        for n in range(1, TEN + 1)
    ]
    return draw(start("text"), *prompts, finish(f"{{{{p{TEN}}}}}"))


def calls_by_step(services: Services, run_id: str) -> dict[str, list[str]]:
    """States of the calls of each step."""
    query = select(usage_logs.c.workflow_step, usage_logs.c.status).where(usage_logs.c.workflow_run_id == run_id)
    calls: dict[str, list[str]] = {}
    with services.store.read() as connection:
        for step, status in connection.execute(query.order_by(usage_logs.c.started_at)):
            calls.setdefault(step, []).append(status)
    return calls


@pytest.mark.feature("FLOW-2", "FLOW-8")
def test_a_run_whose_process_is_killed_goes_on_and_no_ended_call_is_made_again(
    rig: FlowRig, settings: Settings, record_property: Any
) -> None:
    kills = repeats(1, 50)
    for number in range(kills):
        run_id = kill_after(rig, settings, 1 + number % TEN)
        asyncio.run(rig.services.workflows.interpreter.execute(run_id))
        ended = rig.services.workflows.runs.get(AMIRA, run_id)
        assert (ended.state, ended.executions) == (RunState.DONE, 2)
        assert str(ended.output).endswith("2 1 go")
        calls = calls_by_step(rig.services, run_id)
        assert all(statuses.count("ok") == 1 for statuses in calls.values()), calls
        assert len(calls) == TEN
        orphans = sum(len(statuses) - 1 for statuses in calls.values())
        assert ended.orphaned_calls == orphans
        with rig.services.store.read() as connection:
            query = select(func.sum(usage_logs.c.cost_nano_usd)).where(usage_logs.c.workflow_run_id == run_id)
            assert ended.cost_nano_usd == connection.scalar(query)
    record_property("counted", ("workflow runs killed", kills))


def kill_after(rig: FlowRig, settings: Settings, calls: int) -> str:
    """Begin a run in a process that is killed when so many of its calls have ended; the run's id."""
    run = rig.services.workflows.runs.start(AMIRA, rig.make(ten_steps(rig)), {"text": "go"}, launches=False)
    command = [sys.executable, "-c", _EXECUTE, str(settings.data_dir), settings.database_url, run.id]
    child = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, env={**os.environ})
    try:
        until(lambda: len(calls_by_step(rig.services, run.id)) >= calls or child.poll() is not None)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    return run.id


@pytest.mark.feature("FLOW-2")
def test_a_cancelled_run_ends_its_call_in_flight_and_can_be_gone_on_with(rig: FlowRig) -> None:
    rig.services.calls.plans.same_for_s = 0.0  # a changed configuration counts at once
    slug = rig.configure("say:done+wait:60s")
    quick = rig.configure("echo")
    ask = [
        node("prompt", "first", configuration=quick, prompt="a"),
        node("prompt", "slow", configuration=slug, prompt="b"),
    ]
    run = rig.start(draw(start(), *ask, finish("{{slow}}")))
    until(lambda: "slow" in rig.steps(run) and rig.steps(run)["slow"].calls)
    rig.services.workflows.runs.cancel(AMIRA, run.id)
    ended = rig.wait(run)
    assert (ended.state, ended.reason) == (RunState.CANCELLED, "It was cancelled.")
    until(lambda: calls_by_step(rig.services, run.id).get("slow") == ["cancelled"])
    assert [str(step.state) for step in rig.steps(run).values()] == ["done", "done", "cancelled"]
    slow = rig.services.configurations.get(AMIRA, slug)
    rig.services.configurations.update(AMIRA, slow.id, slow.revision, model="say:done")
    ended = rig.wait(rig.services.workflows.runs.resume(AMIRA, run.id))
    assert (ended.state, ended.output) == (RunState.DONE, "done")
    assert calls_by_step(rig.services, run.id)["first"] == ["ok"]
    with pytest.raises(Conflict):
        rig.services.workflows.runs.resume(AMIRA, run.id)


@pytest.mark.feature("FLOW-2")
def test_a_paused_run_ends_the_step_that_runs_and_begins_no_other(rig: FlowRig) -> None:
    run = rig.start(ten_steps(rig, "echo+wait:300ms"), text="go")
    until(lambda: "p1" in rig.steps(run))
    rig.services.workflows.runs.pause(AMIRA, run.id)
    paused = rig.wait(run)
    assert paused.state is RunState.PAUSED
    assert paused.steps_done < TEN
    assert {str(step.state) for step in rig.steps(run).values()} == {"done"}
    assert rig.wait(rig.services.workflows.runs.resume(AMIRA, run.id)).state is RunState.DONE
    assert all(statuses == ["ok"] for statuses in calls_by_step(rig.services, run.id).values())


@pytest.mark.feature("FLOW-2", "FLOW-8")
def test_no_call_begins_that_might_pass_the_cap_and_a_raised_cap_lets_the_run_go_on(rig: FlowRig) -> None:
    slug = rig.configure("echo+usage:1000,100+priced")
    ask = [node("prompt", f"p{n}", configuration=slug, prompt="x", parameters={"max_tokens": 100}) for n in (1, 2)]
    workflow = rig.make(draw(start(), *ask, finish("{{p2}}")))
    run = rig.services.workflows.runs.start(AMIRA, workflow, {}, cap_nano_usd=4_000_000)
    held = rig.wait(run)
    assert (held.state, held.cost_nano_usd, held.steps_done) == (RunState.PAUSED, 3_500_000, 2)
    assert held.reason.startswith("The cap of $0.0040 is reached: $0.0035 is spent")
    done = rig.wait(rig.services.workflows.runs.resume(AMIRA, run.id, cap_nano_usd=20_000_000))
    assert (done.state, done.cost_nano_usd) == (RunState.DONE, 7_000_000)


@pytest.mark.feature("FLOW-8")
def test_a_rerun_from_a_step_pays_what_comes_after_it_as_quoted(rig: FlowRig) -> None:
    workflow = rig.make(ten_steps(rig, "echo+usage:1000,100+priced"))
    first = rig.services.workflows.runs.quote(AMIRA, workflow, {"text": "go"})
    assert (first.basis, first.samples) == ("ceilings", TEN)
    run = rig.finish(workflow, text="go")
    assert first.low_nano is not None
    assert first.high_nano is not None
    quoted = rig.services.workflows.runs.quote_rerun(AMIRA, run.id, "p7")
    assert (quoted.basis, quoted.low_nano, quoted.high_nano) == ("past", 7_000_000, 7_000_000)
    again = rig.wait(rig.services.workflows.runs.rerun(AMIRA, run.id, "p7"))
    assert (again.state, again.output, again.cost_nano_usd) == (RunState.DONE, run.output, 7_000_000)
    assert [step.reused_from for path, step in rig.steps(again).items() if path in ("p1", "p6", "p7")] == [
        run.id,
        run.id,
        None,
    ]
    for _ in range(2):
        rig.finish(workflow, text="go")
    past = rig.services.workflows.runs.quote(AMIRA, workflow)
    assert (past.basis, past.samples, past.high_nano) == ("past", 3, 28_000_000)


@pytest.mark.feature("FLOW-2")
def test_a_failed_run_goes_on_when_the_definition_is_mended(rig: FlowRig) -> None:
    slug = rig.configure("echo")
    ask = node("prompt", "ask", configuration=slug, prompt="{{start.x}}")
    workflow = rig.make(
        draw(start("x"), ask, node("transform", "half", value="10 / size(ask.text) / 0"), finish("{{half}}"))
    )
    run = rig.finish(workflow, x="ab")
    assert (run.state, run.failed_step) == (RunState.FAILED, "half")
    mended = draw(start("x"), ask, node("transform", "half", value="10 / size(ask.text)"), finish("{{half}}"))
    rig.services.workflows.definitions.save(AMIRA, workflow, mended, 1)
    again = rig.wait(rig.services.workflows.runs.rerun(AMIRA, run.id, version=2))
    assert (again.state, again.output, rig.steps(again)["ask"].reused_from) == (RunState.DONE, "5", run.id)
    assert rig.count_calls() == 1


@pytest.mark.feature("FLOW-2")
def test_a_run_waits_for_a_time_and_for_a_signal_without_being_anywhere(rig: FlowRig) -> None:
    wait = node("wait", "hold", signal="go", seconds=3600)
    run = rig.finish(draw(start(), wait, finish("{{hold.data.word}}")))
    assert (run.state, run.reason) == (RunState.WAITING, "hold waits for the signal go.")
    assert run.wake_at is not None
    rig.services.workflows.runs.signal(AMIRA, run.id, "go", {"word": "now"})
    until(lambda: rig.services.workflows.runs.get(AMIRA, run.id).output == "now")


@pytest.mark.feature("FLOW-2")
def test_a_run_whose_process_is_gone_goes_on_by_itself_once_and_one_that_lives_is_left(rig: FlowRig) -> None:
    runs = rig.services.workflows.runs
    workflow = rig.make(draw(start("text"), finish("{{start.text}}")))
    lost, alive = (runs.start(AMIRA, workflow, {"text": word}, launches=False) for word in ("lost", "alive"))
    journals = [
        Journal(rig.services.store, rig.services.data_key, run.id, f"dead/{n}") for n, run in ((1, lost), (2, alive))
    ]
    for journal in journals:
        assert journal.take() is not None
    now = [100.0]
    runs.lost_runs.monotonic = lambda: now[0]
    jump = update(workflow_runs).where(workflow_runs.c.state == RunState.RUNNING).values(wake_at=utc_now())
    with rig.services.store.write() as connection:
        connection.execute(jump)  # as the clock leaps past all signs of life
    runs.launch_due()
    with rig.services.store.write() as connection:
        keep_runs(connection, ["dead/2"])
    now[0] += WATCHED_S
    runs.launch_due()
    assert rig.wait(lost).output == "lost"
    assert runs.get(AMIRA, lost.id).executions == 2
    assert runs.recover(AMIRA) == []
    assert runs.get(AMIRA, alive.id).state is RunState.RUNNING
    with rig.services.store.write() as connection:
        keep_runs(connection, ["other/2"])
        connection.execute(update(workflow_runs).where(workflow_runs.c.id == alive.id).values(wake_at=utc_now()))
        keep_runs(connection, ["dead/2"])
    assert runs.recover(AMIRA) == []
    with pytest.raises(RunLost):
        journals[0].end(RunState.DONE)


@pytest.mark.feature("FLOW-2")
def test_a_run_that_an_execution_is_at_work_on_is_left_to_it(rig: FlowRig) -> None:
    workflow = rig.make(ten_steps(rig, "echo+wait:100ms"))
    run = rig.services.workflows.runs.start(AMIRA, workflow, {"text": "go"}, launches=False)

    async def twice() -> list[str]:
        first = asyncio.ensure_future(rig.services.workflows.interpreter.execute(run.id))
        await asyncio.to_thread(until, lambda: "p1" in rig.steps(run))
        second = asyncio.ensure_future(rig.services.workflows.interpreter.execute(run.id))
        return [str(state) for state in await asyncio.gather(first, second)]

    assert asyncio.run(twice()) == ["done", ""]
    assert rig.services.workflows.runs.get(AMIRA, run.id).executions == 1
    assert all(statuses == ["ok"] for statuses in calls_by_step(rig.services, run.id).values())
