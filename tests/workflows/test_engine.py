"""Runs on the engine of work: queued to whatever process runs it, gone on with by another when that one is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from lib.db.tables import usage_logs, work_processes
from lib.settings import Settings
from lib.workflows.run import RunState
from tests.counts import FULL
from tests.waiting import until
from tests.workflows.rig import AMIRA, FlowRig, draw, finish, node, start

pytestmark = [pytest.mark.feature("FLOW-2"), pytest.mark.feature("FLOW-9")]
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["sqlite", "postgresql"] if FULL else ["sqlite"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Both stores in the proof."""
    return str(request.param)


def begin_process(settings: Settings, rig: FlowRig) -> subprocess.Popen[bytes]:
    """A process that runs work, once it has entered its row."""
    environment = {**os.environ, "LLM_MANAGER_DATA": str(settings.data_dir), "DATABASE_URL": settings.database_url}
    command = [sys.executable, "-m", "lib", "work", "run"]
    before = list_processes(rig)
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL)
    until(lambda: list_processes(rig) - before)
    return process


def list_processes(rig: FlowRig) -> set[str]:
    with rig.services.store.read() as connection:
        return set(connection.scalars(select(work_processes.c.executor_id)))


def test_another_process_goes_on_with_the_runs_of_one_that_was_killed(rig: FlowRig, settings: Settings) -> None:
    slug = rig.configure("echo+wait:100ms")
    prompts = [node("prompt", f"p{n}", configuration=slug, prompt=f"{n}") for n in range(6)]
    workflow = rig.make(draw(start(), *prompts, finish("{{p5}}")))
    first = begin_process(settings, rig)
    second: subprocess.Popen[bytes] | None = None
    try:
        run = rig.services.workflows.runs.start(AMIRA, workflow, {})
        until(lambda: "p2" in rig.steps(run))
        first.send_signal(signal.SIGKILL)
        first.wait()
        second = begin_process(settings, rig)
        until(lambda: rig.services.workflows.runs.get(AMIRA, run.id).state.is_over)
    finally:
        for process in (first, second):
            if process is not None:
                process.kill()
                process.wait()
    ended = rig.services.workflows.runs.get(AMIRA, run.id)
    assert (ended.state, ended.output) == (RunState.DONE, "5")
    assert ended.executions >= 2
    query = select(usage_logs.c.workflow_step).where(
        usage_logs.c.workflow_run_id == run.id, usage_logs.c.status == "ok"
    )
    with rig.services.store.read() as connection:
        steps = list(connection.scalars(query))
    assert sorted(steps) == [f"p{n}" for n in range(6)]
