"""kill -9 of the process that works on an experiment: the next one that runs work goes on with it, by itself."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from lib.db.tables import experiment_cells, usage_logs
from lib.experiments.experiment import CellState, ExperimentState
from lib.experiments.plan import Candidate, ExperimentDraft
from lib.services import build
from lib.settings import PROJECT, Settings
from tests.calls.rig import AMIRA
from tests.counts import FULL
from tests.waiting import until
from tests.workflows.kill_rig import open_rig

_CHILD = """
import sys, threading
sys.path.insert(0, {project!r})
from pathlib import Path
from lib.experiments.experiment import CellState
from lib.experiments.plan import Candidate, ExperimentDraft
from lib.settings import Settings
from tests.activity.activity_rig import account
from tests.calls.rig import AMIRA, Rig
from tests.waiting import until
rig = Rig(Settings(data_dir=Path({folder!r}), database_url={url!r}))
services = rig.services
account(services.store, AMIRA)
slug = services.configurations.create(AMIRA, slug="slow", app="tests", provider="scripted", model="echo+slow:40ms").slug
rows = [{{"prompt": f"word {{n}} of many"}} for n in range(12)]
made = services.experiments.create(AMIRA, ExperimentDraft("Killed", [Candidate(slug)], rows, parallel=2))
services.launch_work()
services.experiments.start(AMIRA, made)
until(lambda: services.experiments.get(AMIRA, made).cells.get(CellState.DONE, 0) >= 3)
print(made, flush=True)
threading.Event().wait()
"""


@pytest.mark.feature("PLAY-4")
@pytest.mark.feature("FLOW-2")
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_killed_experiment_goes_on_by_itself(database_url: str, tmp_path: Path) -> None:
    code = _CHILD.format(project=str(PROJECT), folder=str(tmp_path), url=database_url)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    experiment_id = child.stdout.readline().strip()
    child.kill()
    child.wait()
    child.stdout.close()
    services = build(Settings(data_dir=tmp_path, database_url=database_url))
    left = services.experiments.get(AMIRA, experiment_id)
    assert left.state is ExperimentState.RUNNING
    services.launch_work()
    done = services.experiments.wait(AMIRA, experiment_id, 120)
    assert (done.state, done.cells) == (ExperimentState.DONE, {CellState.DONE: 12})
    logs = usage_logs.c
    with services.store.read() as connection:
        answered = connection.scalar(select(func.count()).where(logs.status == "ok", logs.origin == "experiment"))
        orphaned = connection.scalar(select(func.count()).where(logs.status == "orphaned"))
    assert answered == 12, "what was answered before the kill was not asked again"
    assert (orphaned or 0) <= 2, "no more than were under way"
    services.close()


@pytest.mark.feature("PLAY-4")
@pytest.mark.feature("FLOW-2")
@pytest.mark.skipif(not FULL, reason="a proof")
def test_killed_at_random_moments_no_cell_that_was_answered_is_asked_again(
    database_url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    moments = random.Random(27)
    kills = 25
    with open_rig(Settings(data_dir=tmp_path, database_url=database_url), pause_s=0.02) as rig:
        experiments = rig.services.experiments
        rows = [{"prompt": f"cell {number} of many"} for number in range(kills * 5)]
        made = experiments.create(AMIRA, ExperimentDraft("Killed", [Candidate("paid")], rows, parallel=2))
        experiments.start(AMIRA, made)
        process = rig.begin_process()
        for _ in range(kills):
            goal = min(rig.witness.total + moments.randint(1, 5), len(rows))
            until(lambda goal=goal: rig.witness.total >= goal)  # type: ignore[misc]
            rig.kill(process)
            process = rig.begin_process()
        until(lambda: not experiments.get(AMIRA, made).at_work)
        assert experiments.get(AMIRA, made).cells == {CellState.DONE: len(rows)}
        with rig.services.store.read() as connection:
            cells = connection.execute(select(experiment_cells.c.row, experiment_cells.c.calls)).all()
            statuses = {row.call_id: row.status for row in connection.execute(select(usage_logs))}
        cut = 0
        for row, calls in cells:
            ended = [statuses[call_id] for call_id in calls if call_id in statuses]
            assert ended[-1] == "ok"
            assert set(ended[:-1]) <= {"orphaned"}
            assert 1 <= rig.witness.count("cell", str(row)) <= len(ended), "each request has its row"
            cut += len(ended) - 1
        assert len(statuses) == len(rows) + cut
    record_property("counted", ("kills of processes that work on an experiment", kills))
    record_property("counted", ("cells asked again, for they were cut in flight", cut))
