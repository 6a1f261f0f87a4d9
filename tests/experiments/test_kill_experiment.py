"""kill -9 of the process that works on an experiment: the next one that runs work goes on with it, by itself."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from lib.db.tables import usage_logs
from lib.experiments.experiment import CellState, ExperimentState
from lib.services import build
from lib.settings import PROJECT, Settings
from tests.calls.rig import AMIRA

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
