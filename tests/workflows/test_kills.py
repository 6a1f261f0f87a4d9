"""kill -9 of what executes a run of ten paid steps: the provider's own count says that no answer is paid for twice."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from lib.approvals.approval import Decision, Verdict
from lib.clock import utc_now
from lib.db.tables import workflow_schedules
from lib.services import use
from lib.settings import Settings
from lib.workflows.run import Run, RunState
from tests.counts import FULL, repeats
from tests.gateway.api_rig import application
from tests.waiting import until
from tests.workflows.kill_rig import PAID, KillRig, list_cuts, open_rig
from tests.workflows.rig import AMIRA, draw, finish, start

pytestmark = [pytest.mark.feature("FLOW-2"), pytest.mark.feature("FLOW-9")]


@pytest.fixture(params=["sqlite", "postgresql"] if FULL else ["sqlite"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Both stores in the proof."""
    return str(request.param)


@pytest.fixture
def killing(settings: Settings) -> Iterator[KillRig]:
    """Processes to kill, before a provider that takes its time."""
    with open_rig(settings, pause_s=0.01) as rig:
        yield rig


def decide_by_api(rig: KillRig, run: Run) -> None:
    """Approve what a run waits for, as a program does."""
    with ExitStack() as stack:
        use(rig.services)
        stack.callback(use, None)
        client = stack.enter_context(TestClient(application(rig.services.calls)))
        secret, _ = rig.services.api_keys.create(AMIRA, app="tests", endpoints=["api"])
        head = {"authorization": f"Bearer {secret}"}
        [waiting] = client.get("/api/approvals", headers=head).json()["approvals"]
        assert waiting["workflow_run_id"] == run.id
        answer = client.post(f"/api/approvals/{waiting['id']}", headers=head, json={"decision": "approve"})
        assert answer.status_code == 200


def test_killed_in_flight_and_while_it_waits_a_run_repeats_what_was_cut_and_nothing_else(
    killing: KillRig, record_property: Callable[[str, object], None]
) -> None:
    cuts = list_cuts(PAID) if FULL else [("each/1/ask",)]
    workflow = killing.draw_ten()
    process = killing.begin_process()
    run = killing.start(workflow, text="go")
    for cut in cuts:
        killing.witness.hold(*cut)
        if cut == ("p3",):
            process = kill_while_it_waits(killing, process, run)
        until(lambda cut=cut: all(killing.witness.count(run.id, step) for step in cut))  # type: ignore[misc]
        killing.kill(process)
        killing.witness.hold()
        process = killing.begin_process()
    if not FULL:
        until(lambda: killing.get(run).state is RunState.WAITING)
        decide_by_api(killing, run)
    until(lambda: killing.get(run).state.is_over)
    ledger = killing.check_paid_once(run)
    killed = {step for cut in cuts for step in cut}
    assert dict(ledger.statuses) == {step: ["orphaned", "ok"] if step in killed else ["ok"] for step in PAID}
    assert {step: killing.witness.count(run.id, step) for step in PAID} == {step: 1 + (step in killed) for step in PAID}
    record_property("counted", ("steps of a run killed in flight", len(killed)))


def kill_while_it_waits(rig: KillRig, process: int, run: Run) -> int:
    """Kill while the run waits for a decision, decide by the API while nothing runs, and start another process."""
    until(lambda: rig.get(run).state is RunState.WAITING)
    rig.kill(process)
    decide_by_api(rig, run)
    return rig.begin_process()


@pytest.mark.skipif(not FULL, reason="a proof")
def test_killed_at_random_moments_no_answer_in_the_ledger_is_asked_for_again(
    killing: KillRig, record_property: Callable[[str, object], None]
) -> None:
    moments = random.Random(26)
    kills = repeats(1, 100)
    workflow = killing.draw_ten()
    process = killing.begin_process()
    runs = [killing.start(workflow, text="go") for _ in range(3)]
    for _ in range(kills):
        wait_for_requests(killing, moments.randint(1, 6), runs)
        threading.Event().wait(moments.uniform(0, 0.03))  # a moment within a step, or between two
        killing.kill(process)
        process = killing.begin_process()
        if are_over(killing, runs):
            runs += [killing.start(workflow, text="go") for _ in range(3)]
    until(lambda: decide_waiting(killing) or are_over(killing, runs))
    ledgers = [killing.check_paid_once(run) for run in runs]
    answers = [statuses.count("ok") for ledger in ledgers for statuses in ledger.statuses.values()]
    assert answers == [1] * len(PAID) * len(runs), "each step has one answer, however often it was killed"
    cut = sum(len(ledger.costs) - len(PAID) for ledger in ledgers)
    sent = sum(killing.witness.count(run.id, step) for run in runs for step in PAID)
    assert sent <= len(answers) + cut, "only what was cut in flight was sent again"
    record_property("counted", ("kills of processes that execute workflows", kills))
    record_property("counted", ("paid steps of these workflows", len(PAID) * len(runs)))
    record_property("counted", ("of them cut in flight and repeated", cut))


def wait_for_requests(rig: KillRig, more: int, runs: Sequence[Run]) -> None:
    """Wait until the provider was sent so many more requests, or there are no more to come."""
    goal = rig.witness.total + more
    until(lambda: decide_waiting(rig) or rig.witness.total >= goal or are_over(rig, runs))


def are_over(rig: KillRig, runs: Sequence[Run]) -> bool:
    """Whether the newest runs have ended."""
    return all(rig.get(run).state.is_over for run in runs[-12:])


def decide_waiting(rig: KillRig) -> bool:
    """Approve whatever waits; False, so that a wait goes on."""
    for approval in rig.services.approvals.waiting(AMIRA):
        rig.services.approvals.decide(AMIRA, approval.id, Decision(verdict=Verdict.APPROVE))
    return False


@pytest.mark.skipif(not FULL, reason="a proof")
def test_of_three_machines_one_is_lost_and_the_others_go_on_with_its_runs(
    settings: Settings, record_property: Callable[[str, object], None]
) -> None:
    with open_rig(settings, pause_s=0.1) as rig:
        machines = [rig.begin_process("machine") for _ in range(3)]
        workflow = rig.draw_ten()
        runs = [rig.start(workflow, text="go") for _ in range(12)]
        until(lambda: rig.witness.total >= 2 * len(runs))
        owners = rig.read_owners()
        lost = max(machines, key=lambda machine: sum(f"-{machine}-" in owner for owner in owners.values()))
        left = [run for run in runs if f"-{lost}-" in owners.get(run.id, "")]
        assert left
        rig.kill(lost)
        killed_at = time.monotonic()
        until(lambda: all(rig.get(run).executions > 1 for run in left))
        seconds = time.monotonic() - killed_at
        scheduled = fire_schedule(rig, 5)
        until(lambda: decide_waiting(rig) or are_over(rig, runs))
        for run in runs:
            rig.check_paid_once(run)
        fired = len(rig.services.workflows.runs.list(AMIRA, scheduled))
    assert fired == 5
    record_property("counted", ("runs of a lost machine that others went on with", len(left)))
    record_property("counted", ("seconds until they did, at most", round(seconds + 0.5)))
    record_property("counted", ("moments of a schedule, each begun once by two machines", fired))


def fire_schedule(rig: KillRig, times: int) -> str:
    """Let a schedule be due so often, and see its run begin each time; the workflow's slug."""
    workflow = rig.make(draw(start(), finish("x")))
    rig.services.workflows.schedules.add(AMIRA, workflow, "0 3 * * *", "UTC", overlap="parallel")
    for number in range(1, times + 1):
        with rig.services.store.write() as connection:
            connection.execute(update(workflow_schedules).values(next_at=utc_now() - timedelta(seconds=1)))
        until(lambda: rig.services.workflows.schedules.list(AMIRA, workflow)[0].next_at > utc_now())  # type: ignore[operator]
        until(lambda number=number: len(rig.services.workflows.runs.list(AMIRA, workflow)) >= number)  # type: ignore[misc]
    return workflow
