"""Two versions of the program: what an older one has queued, parked or left behind is gone on with by the newer one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from lib.services import Services
from lib.work import engine, other_versions
from lib.work.other_versions import LEFT_AFTER_S, OtherVersions
from lib.work.state import WorkState
from tests.counts import FULL
from tests.waiting import until
from tests.work.work_rig import STEPS, kill, open_services, read_notes, start_process

pytestmark = pytest.mark.feature("FLOW-2")
OLD = "0"


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def services(database_url: str, tmp_path: Path) -> Iterator[Services]:
    opened = open_services(tmp_path, database_url)
    yield opened
    opened.close()


def launch_newer(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run work of this version here, and let it lose no time over what others left."""
    monkeypatch.setattr(engine, "OTHERS_S", 0.1)
    monkeypatch.setattr(other_versions, "LEFT_AFTER_S", 0.5)
    services.work.launch(services.calls, park_after_s=0.2)


def queue_under_old(services: Services, payload: object) -> str:
    """Queue a run as a process of the older version does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "VERSION", OLD)
        return services.work.start("chain", payload)


@pytest.mark.parametrize("database_kind", ["sqlite", "postgresql"] if FULL else ["sqlite"], indirect=True)
def test_what_an_older_version_queued_parked_or_left_goes_on_and_no_ended_step_runs_again(
    services: Services, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = services.work
    older = start_process(tmp_path, database_url, OLD)
    parked = queue_under_old(services, {"asks": True})
    until(lambda: work.state(parked).state is WorkState.WAITING)  # type: ignore[union-attr]
    cut = queue_under_old(services, {})
    until(lambda: read_notes(tmp_path)[f"ended {cut} 1"])
    kill(older)
    queued = queue_under_old(services, {})
    work.signal(parked, "answer", {"number": 99})
    before = read_notes(tmp_path)
    launch_newer(services, monkeypatch)
    until(lambda: all(work.state(run_id).is_over for run_id in (parked, cut, queued)))  # type: ignore[union-attr]
    assert work.state(parked).output == [*range(STEPS), 99]  # type: ignore[union-attr]
    assert work.state(cut).output == work.state(queued).output == [*range(STEPS)]  # type: ignore[union-attr]
    notes = read_notes(tmp_path)
    done = {row.step for row in work.results.list_steps(parked) if row.step.startswith("act ")}
    assert len(done) == STEPS
    assert all(notes[f"begun {parked} {number}"] == 1 for number in range(STEPS))
    assert all(notes[f"begun {cut} {number}"] == 1 for number in range(STEPS) if before[f"ended {cut} {number + 1}"])


def test_a_run_that_a_process_of_its_version_has_or_may_take_is_left_alone(services: Services) -> None:
    now = [0.0]
    run_id = queue_under_old(services, {})
    database = services.work._open().client._sys_db
    status = database.tables.workflow_status
    watch = OtherVersions(database, engine.VERSION, lambda: now[0])
    told: list[str] = []

    def take(*dead: str) -> list[str]:
        return watch.take(lambda owners: [name for name in owners if name in dead], lambda: told.append("before"))

    def change(**values: object) -> None:
        with database.engine.begin() as connection:
            connection.execute(update(status).where(status.c.workflow_uuid == run_id).values(**values))

    assert take() == []
    now[0] = LEFT_AFTER_S - 1
    assert take() == [], "a process of its version may still take it"
    change(status="PENDING", executor_id="older")
    now[0] += LEFT_AFTER_S
    assert take() == [], "one has taken it in between"
    now[0] += LEFT_AFTER_S
    assert take() == [], "and lives"
    assert told == []
    assert take("older") == [run_id]
    assert told == ["before"], "what the dead process left on the disk is brought in first"
    with database.engine.connect() as connection:
        row = connection.execute(select(status).where(status.c.workflow_uuid == run_id)).one()
    assert (row.status, row.application_version, row.queue_name) == ("ENQUEUED", engine.VERSION, "interactive")
    change(application_version=OLD, forked_from="another")
    now[0] += 3 * LEFT_AFTER_S
    assert take("older") == [], "a fork's results stand under another run"
