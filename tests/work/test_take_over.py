"""kill -9 of a process that runs work: others go on with its runs, and no step that has ended is done again."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from lib.db.tables import step_results, usage_logs
from lib.work.state import WorkState
from lib.work.work import Work
from tests.counts import FULL, repeats
from tests.waiting import until
from tests.work.work_rig import STEPS, kill, open_services, read_notes, start_process

pytestmark = pytest.mark.feature("FLOW-2")


@pytest.mark.parametrize("database_kind", ["sqlite", "postgresql"] if FULL else ["sqlite"])
def test_killed_at_random_moments_no_ended_step_runs_again(
    database_url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    services = open_services(tmp_path, database_url)
    work = services.work
    moments = random.Random(24)
    kills = repeats(2, 100)
    process = start_process(tmp_path, database_url)
    ids = [work.enqueue("chain", {}) for _ in range(3)]
    committed: dict[str, int] = {}  # how often a step had begun when its result stood in the database
    for _ in range(kills):
        goal = min(count_ended(tmp_path) + moments.randint(1, 5), len(ids) * STEPS)
        until(lambda goal=goal: count_ended(tmp_path) >= goal)  # type: ignore[misc]
        rows = [row for run_id in ids for row in work.results.list_steps(run_id) if row.step.startswith("act ")]
        notes = read_notes(tmp_path)
        for row in rows:
            words = f"begun {row.run_id} {row.step.removeprefix('act ')}"
            committed.setdefault(words, notes[words])
        kill(process)
        process = start_process(tmp_path, database_url)
        if goal == len(ids) * STEPS:
            ids += [work.enqueue("chain", {}) for _ in range(3)]
    for run_id in ids:
        wait_for_end(work, run_id)
        assert work.state(run_id).output == list(range(STEPS))  # type: ignore[union-attr]
    kill(process)
    notes = read_notes(tmp_path)
    assert committed
    assert {words: notes[words] for words in committed} == committed
    record_property("counted", ("kills of processes that run work", kills))
    record_property("counted", ("steps with a result before a kill", len(committed)))
    services.close()


def count_ended(folder: Path) -> int:
    """Count the steps whose function has returned, once for each time."""
    return sum(count for words, count in read_notes(folder).items() if words.startswith("ended"))


@pytest.mark.parametrize("database_kind", ["sqlite", "postgresql"] if FULL else ["sqlite"])
def test_an_answer_that_was_paid_for_is_not_asked_for_again(
    database_url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    services = open_services(tmp_path, database_url)
    moments = random.Random(25)
    model = "say:Four words of answer+slow:20ms"
    asked = 0
    run_id = services.work.start("paid", {"model": model})
    process = start_process(tmp_path, database_url)
    kills = repeats(2, 100)
    for _ in range(kills):
        asked += moments.randint(1, 2)
        wait_for_calls(services.work, tmp_path, asked, run_id)
        kill(process)
        process = start_process(tmp_path, database_url)
        if services.work.state(run_id).is_over:  # type: ignore[union-attr]
            run_id = services.work.start("paid", {"model": model})
    until(lambda: services.work.state(run_id).is_over)  # type: ignore[union-attr]
    kill(process)
    assert services.work.state(run_id).output == ["Four words of answer"] * STEPS  # type: ignore[union-attr]
    services.calls.recover()
    ended = (usage_logs.c.workflow_run_id, usage_logs.c.workflow_step, usage_logs.c.status)
    made_by_calls = select(func.count()).select_from(step_results).where(step_results.c.call_id.is_not(None))
    with services.store.read() as connection:
        rows = connection.execute(select(*ended, func.count()).group_by(*ended)).all()
        kept = connection.scalar(made_by_calls)
    paid = [row for row in rows if row.status == "ok"]
    assert {row[3] for row in paid} == {1}, "a step has one answer that ended well"
    assert kept == len(paid)
    assert {row.status for row in rows} <= {"ok", "orphaned"}, "one killed in flight is asked again, and its row counts"
    record_property("counted", ("kills while answers were written", kills))
    services.close()


def wait_for_end(work: Work, run_id: str) -> None:
    """Wait until a run is over."""
    until(lambda: work.state(run_id).is_over)  # type: ignore[union-attr]


def wait_for_calls(work: Work, folder: Path, number: int, run_id: str) -> None:
    """Wait until so many calls were made, or the run is over."""
    until(lambda: count_asked(folder) >= number or work.state(run_id).is_over)  # type: ignore[union-attr]


def count_asked(folder: Path) -> int:
    """Count the calls that were made, also those that were made again."""
    return sum(count for words, count in read_notes(folder).items() if words.startswith("asked"))


def test_a_run_in_another_process_goes_on_here_after_a_kill_with_an_answer_given_in_between(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'llm_manager.db'}"
    services = open_services(tmp_path, url)
    work = services.work
    first = start_process(tmp_path, url)
    run_id = work.start("chain", {"asks": True})
    until(lambda: work.state(run_id).state is WorkState.WAITING)  # type: ignore[union-attr]
    kill(first)
    work.signal(run_id, "answer", {"number": 99})
    second = start_process(tmp_path, url)
    until(lambda: work.state(run_id).is_over)  # type: ignore[union-attr]
    kill(second)
    assert work.state(run_id).output == [*range(STEPS), 99]  # type: ignore[union-attr]
    assert max(read_notes(tmp_path).values()) == 1
    services.close()


def test_a_step_that_acts_and_was_cut_is_unknown_and_is_not_repeated(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'llm_manager.db'}"
    services = open_services(tmp_path, url)
    work = services.work
    first = start_process(tmp_path, url)
    run_id = work.start("act once", None)
    until(lambda: read_notes(tmp_path)[f"begun {run_id}"])
    kill(first)
    second = start_process(tmp_path, url)
    until(lambda: work.state(run_id).is_over)  # type: ignore[union-attr]
    kill(second)
    status = work.state(run_id)
    assert status is not None
    assert status.state is WorkState.FAILED
    assert "Nobody knows whether the step pay was done." in (status.error or "")
    assert read_notes(tmp_path)[f"begun {run_id}"] == 1
    assert [(row.step, row.state) for row in work.results.list_steps(run_id)] == [("pay", "unknown")]
    services.close()
