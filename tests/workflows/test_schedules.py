"""Schedules: due by local time over changes of the clock, begun once, with the last run still going or not."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from lib.clock import utc_now
from lib.db.tables import workflow_schedules
from lib.errors import InvalidInput
from lib.workflows.run import RunState, Trigger
from lib.workflows.triggers.moments import find_next
from tests.workflows.rig import AMIRA, FlowRig, draw, finish, node, start

pytestmark = pytest.mark.feature("FLOW-9")
BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("cron", "after", "moments"),
    [
        # In Berlin 02:00 to 03:00 falls out on 29 March 2026, and comes twice on 25 October.
        ("30 2 * * *", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        ("30 2 * * *", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("0 12 * * 1-5", "2026-10-23T11:00", ["2026-10-26T11:00", "2026-10-27T11:00"]),
        ("*/30 * * * *", "2026-10-25T00:10", ["2026-10-25T00:30", "2026-10-25T02:00"]),
    ],
    ids=["spring", "autumn", "weekdays", "half hours"],
)
def test_a_local_hour_that_falls_out_is_made_up_for_and_a_doubled_one_counts_once(
    cron: str, after: str, moments: list[str]
) -> None:
    at = datetime.fromisoformat(after).replace(tzinfo=UTC)
    for moment in moments:
        found = find_next(cron, BERLIN, at)
        assert found == datetime.fromisoformat(moment).replace(tzinfo=UTC)
        at = found


def make_due(rig: FlowRig) -> None:
    with rig.services.store.write() as connection:
        connection.execute(update(workflow_schedules).values(next_at=utc_now() - timedelta(seconds=1)))


@pytest.mark.parametrize(("overlap", "runs"), [("skip", 1), ("queue", 1), ("parallel", 2)])
def test_a_due_schedule_begins_one_run_and_minds_the_last(rig: FlowRig, overlap: str, runs: int) -> None:
    workflow = rig.make(draw(start("text"), node("wait", "hold", signal="go"), finish("{{start.text}}")))
    schedules = rig.services.workflows.schedules
    made = schedules.add(AMIRA, workflow, "0 3 * * *", BERLIN, {"text": "night"}, overlap=overlap)
    assert made.next_at is not None
    assert schedules.begin_due() == 0
    make_due(rig)
    schedules.begin_due()
    schedules.begin_due()
    (first,) = rig.services.workflows.runs.list(AMIRA, workflow)
    assert (first.trigger, first.user_id, first.inputs) == (Trigger.SCHEDULE, AMIRA.user_id, {"text": "night"})
    assert rig.wait(first).state is RunState.WAITING
    make_due(rig)
    schedules.begin_due()
    assert len(rig.services.workflows.runs.list(AMIRA, workflow)) == runs
    note = schedules.list(AMIRA, workflow)[0].last_note
    assert note == ("The last run was still going." if overlap == "skip" else "")
    schedules.remove(AMIRA, made.id)
    assert schedules.list(AMIRA, workflow) == []


@pytest.mark.parametrize(("ahead", "is_brought_back"), [(timedelta(days=400), True), (timedelta(days=1), False)])
def test_a_clock_that_was_far_ahead_holds_no_schedule_up_and_a_small_step_repeats_none(
    rig: FlowRig, ahead: timedelta, is_brought_back: bool
) -> None:
    workflow = rig.make(draw(start(), finish("x")))
    made = rig.services.workflows.schedules.add(AMIRA, workflow, "0 3 * * *", "UTC")
    assert made.next_at is not None
    with rig.services.store.write() as connection:
        connection.execute(update(workflow_schedules).values(next_at=made.next_at + ahead))
    assert rig.services.workflows.schedules.begin_due() == 0
    [schedule] = rig.services.workflows.schedules.list(AMIRA, workflow)
    assert schedule.next_at == (made.next_at if is_brought_back else made.next_at + ahead)


@pytest.mark.parametrize(("cron", "zone"), [("* * *", BERLIN), ("61 * * * *", BERLIN), ("0 3 * * *", "Mars/Base")])
def test_a_schedule_that_can_not_be_is_refused(rig: FlowRig, cron: str, zone: str) -> None:
    workflow = rig.make(draw(start(), finish("x")))
    with pytest.raises(InvalidInput, match="The schedule can't be used"):
        rig.services.workflows.schedules.add(AMIRA, workflow, cron, zone)


def test_a_schedule_that_can_begin_nothing_says_why(rig: FlowRig) -> None:
    workflow = rig.make(draw(start("text"), finish("x")))
    inputs: dict[str, Any] = {}
    rig.services.workflows.schedules.add(AMIRA, workflow, "0 3 * * *", BERLIN, inputs)
    make_due(rig)
    rig.services.workflows.schedules.begin_due()
    assert "text is missing" in rig.services.workflows.schedules.list(AMIRA, workflow)[0].last_note
