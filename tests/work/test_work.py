"""Runs in one process: steps once, side by side, kept, failed, waited for, parked, cancelled, forked, scheduled."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text

from lib.clock import make_id, utc_now
from lib.db.tables import work_processes
from lib.errors import Conflict, InvalidInput, NotFound
from lib.work.registry import Schedule
from lib.work.run import WorkRun
from lib.work.state import RunStatus, StepFailed, WorkState
from lib.work.work import Work
from tests.waiting import until
from tests.work.work_rig import open_services

pytestmark = pytest.mark.feature("FLOW-2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def work(folder: Path) -> Iterator[Work]:
    services = open_services(folder, f"sqlite:///{folder / 'llm_manager.db'}")
    services.work.launch(services.calls, park_after_s=0.2)
    yield services.work
    services.close()


def end_of(work: Work, run_id: str) -> RunStatus:
    """Wait for the end of a run."""
    until(lambda: work.state(run_id).is_over)  # type: ignore[union-attr]
    status = work.state(run_id)
    assert status is not None
    return status


def register(work: Work, function: Any) -> str:
    kind = make_id()
    work.registry.register(kind, function)
    return kind


def test_steps_side_by_side_have_fixed_numbers_and_their_results_come_back(work: Work) -> None:
    async def branches(run: WorkRun, payload: Any) -> Any:
        slots = run.reserve(["slow", "skipped", "quick"])
        began = threading.Event()

        async def wait_for_the_other() -> str:
            await asyncio.to_thread(began.wait)
            return "slow"

        def say() -> str:
            began.set()
            return str(payload["word"])

        return await asyncio.gather(
            run.step("slow", wait_for_the_other, slot=slots["slow"]),
            run.step("quick", say, slot=slots["quick"]),
        )

    status = end_of(work, work.start(register(work, branches), {"word": "hi"}))
    assert (status.state, status.output) == (WorkState.DONE, ["slow", "hi"])
    numbers = {step["name"]: step["number"] for step in work.list_steps(status.run_id)}
    assert numbers == {"slow": 1, "quick": 3}
    assert work.state(make_id()) is None
    assert work.start("chain", {}, run_id=status.run_id) == status.run_id
    assert work.state(status.run_id) == status, "an id that is there is left as it is"


def test_content_is_in_no_table_of_the_engine_in_clear(work: Work, folder: Path) -> None:
    secret = "the merger is on Tuesday"

    async def keep(run: WorkRun, payload: Any) -> str:
        first = await run.step("write", lambda: {"text": secret}, keep=True)
        return str(await run.step("pay", lambda: first["text"] + "!", acts=True))

    status = end_of(work, work.start(register(work, keep), None))
    assert status.output == f"{secret}!"
    for name in ("engine.db", "llm_manager.db"):
        with sqlite3.connect(folder / name) as database:
            assert secret not in "\n".join(database.iterdump())
    assert [row.state for row in work.results.list_steps(status.run_id)] == ["done"] * 3
    work.results.erase(status.run_id)
    rows = work.results.list_steps(status.run_id)
    assert all(row.output is None and len(row.output_hash) == 64 and row.output_size > 0 for row in rows)


def test_what_fails_is_told_and_the_run_may_go_on(work: Work) -> None:
    def fail() -> None:
        raise Conflict("It is taken.", "Somebody was quicker.")

    async def goes_on(run: WorkRun, payload: Any) -> Any:
        try:
            await run.step("take", fail)
        except StepFailed as error:
            return [error.step, error.kind, error.title, error.why]

    async def stops(run: WorkRun, payload: Any) -> None:
        await run.step("divide", lambda: 1 // 0)

    assert end_of(work, work.start(register(work, goes_on), None)).output == [
        *("take", "Conflict", "It is taken.", "Somebody was quicker.")
    ]
    failed = end_of(work, work.start(register(work, stops), None))
    assert (failed.state, failed.output) == (WorkState.FAILED, None)
    assert failed.error == "Something went wrong inside. The log of the program has the details."
    assert "division" not in failed.error


def test_a_signal_is_heard_before_and_after_parking_and_a_deadline_ends_a_wait(work: Work) -> None:
    async def ask(run: WorkRun, payload: Any) -> Any:
        first = await run.wait_for("first")
        return [first, await run.wait_for("second", timeout_s=0.4)]

    early = make_id()
    work.signal(early, "first", {"n": 1})
    late = work.start(register(work, ask), None)
    kind = str(work.state(late).kind)  # type: ignore[union-attr]
    assert end_of(work, work.start(kind, None, run_id=early)).output == [{"n": 1}, None]
    until(lambda: work.state(late).state is WorkState.WAITING)  # type: ignore[union-attr]
    work.signal(late, "first", {"n": 2})
    work.signal(late, "first", {"n": 3})
    assert end_of(work, late).output == [{"n": 2}, None]


def test_a_cancelled_step_ends_at_once_and_a_resumed_run_repeats_nothing(work: Work) -> None:
    calls: list[str] = []
    reached = threading.Event()
    is_blocked = [True]

    async def hang() -> str:
        reached.set()
        try:
            if is_blocked[0]:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            calls.append("ended")
            raise
        return "through"

    async def two(run: WorkRun, payload: Any) -> Any:
        await run.step("first", lambda: calls.append("first"))
        return await run.step("hang", hang)

    run_id = work.start(register(work, two), None)
    assert reached.wait(60)
    work.cancel(run_id)
    until(lambda: calls == ["first", "ended"])
    assert end_of(work, run_id).state is WorkState.CANCELLED
    is_blocked[0] = False
    work.resume(run_id)
    until(lambda: work.state(run_id).state is WorkState.DONE)  # type: ignore[union-attr]
    assert calls == ["first", "ended"]
    with pytest.raises(NotFound):
        work.cancel(make_id())


def test_children_are_runs_of_their_own_that_end_with_their_parent(work: Work) -> None:
    async def square(run: WorkRun, payload: Any) -> int:
        if payload is None:
            await run.wait_for("never")
        return int(payload) ** 2

    async def total(run: WorkRun, payload: Any) -> Any:
        slots = run.reserve([f"item {n}" for n in payload])
        children = (run.run_child(child, n, f"item {n}", slot=slots[f"item {n}"]) for n in payload)
        return await asyncio.gather(*children)

    child = register(work, square)
    done = end_of(work, work.start(register(work, total), [2, 3, 4]))
    assert done.output == [4, 9, 16]
    assert work.state(f"{done.run_id}/item 3").output == 9  # type: ignore[union-attr]
    waiting = work.start(register(work, total), [None])
    until(lambda: work.state(f"{waiting}/item None"))
    work.cancel(waiting)
    assert end_of(work, f"{waiting}/item None").state is WorkState.CANCELLED


def test_a_fork_begins_with_what_was_done(work: Work) -> None:
    calls: list[str] = []

    def write(name: str) -> str:
        calls.append(name)
        return name

    async def three(run: WorkRun, payload: Any) -> Any:
        return [await run.step(name, write, name, acts=name == "b") for name in "abc"]

    first = end_of(work, work.start(register(work, three), None))
    fork = end_of(work, work.fork(first.run_id, 3))
    assert (fork.output, calls) == (["a", "b", "c"], ["a", "b", "c", "c"])


def test_no_more_runs_of_a_team_at_once_than_its_queue_lets(work: Work) -> None:
    at_work: set[str] = set()
    most: list[int] = []
    all_begun = threading.Event()
    lock = threading.Lock()

    def enter(run_id: str) -> None:
        with lock:
            at_work.add(run_id)
            most.append(len(at_work))
        all_begun.wait(60) if len(most) == 1 else None
        with lock:
            at_work.discard(run_id)

    async def busy(run: WorkRun, payload: Any) -> None:
        await run.step("busy", enter, run.id)

    kind = register(work, busy)
    ids = [work.enqueue(kind, None, team_id=7) for _ in range(6)]
    until(lambda: len(most) >= 4)
    all_begun.set()
    for run_id in ids:
        assert end_of(work, run_id).state is WorkState.DONE
    assert max(most) <= 4


def test_a_schedule_fires_is_paused_and_goes(work: Work) -> None:
    fired: list[dict[str, Any]] = []

    async def tick(run: WorkRun, payload: Any) -> None:
        fired.append(payload)

    kind = register(work, tick)
    work.schedules.set(Schedule("ticks", kind, "* * * * * *", {"n": 1}))
    until(lambda: fired)
    assert fired[0]["n"] == 1
    assert fired[0]["scheduled_at"].endswith("+00:00")
    work.schedules.pause("ticks")
    assert [(each.name, each.cron, each.is_paused) for each in work.schedules.list()] == [
        ("ticks", "* * * * * *", True)
    ]
    work.schedules.delete("ticks")
    assert work.schedules.list() == []
    for cron, zone in (("not a cron", "UTC"), ("* * * * *", "Mars/Olympus")):
        with pytest.raises(InvalidInput):
            work.schedules.set(Schedule("bad", kind, cron, None, zone))


def count_beats(work: Work) -> int:
    with work._store.read() as connection:
        return int(connection.scalars(select(work_processes.c.beats)).one())


def test_the_loop_that_looks_after_runs_outlives_errors_of_the_database(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = work._open()
    beats: list[int] = []
    beat = engine.processes.beat

    def fail_at_first() -> None:
        beats.append(1)
        if len(beats) < 3:
            raise OSError("the database is away")
        beat()

    earlier = count_beats(work)
    monkeypatch.setattr(engine.processes, "beat", fail_at_first)
    until(lambda: len(beats) >= 4)
    assert count_beats(work) > earlier


def test_old_runs_go_and_their_results_are_erased(work: Work) -> None:
    async def pay(run: WorkRun, payload: Any) -> str:
        return str(await run.step("pay", lambda: "an answer", acts=True))

    status = end_of(work, work.start(register(work, pay), None))
    engine = work._open()
    assert engine.sweep() == 0
    assert engine.sweep(utc_now() + timedelta(days=31)) >= 1
    assert work.state(status.run_id) is None
    assert [row.output for row in work.results.list_steps(status.run_id)] == [None, None]


def test_the_engine_on_postgresql(postgres_template: str, postgres_server: str, tmp_path: Path) -> None:
    from tests.conftest import new_database

    url = new_database(postgres_server, f"w{make_id().replace('-', '')}", postgres_template)
    services = open_services(tmp_path, url)
    opened = services.work
    run_id = opened.start("chain", {"asks": True})
    opened.signal(run_id, "answer", {"number": 99})
    assert opened.state(run_id).state is WorkState.QUEUED  # type: ignore[union-attr]
    engine = create_engine(url)
    with engine.connect() as connection:
        stored = connection.scalar(text("SELECT inputs FROM dbos.workflow_input"))
    engine.dispose()
    assert json.loads(stored or "")["positionalArgs"] == ["chain", {"asks": True}, 1, None]
    services.close()
