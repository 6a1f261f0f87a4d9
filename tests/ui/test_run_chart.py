"""The timeline of a run: a bar a step, and of a long run a bar for all steps that do the same."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lib.ui.workflows.run_chart import MOST_BARS, build_timeline, list_bars
from lib.workflows.run import Step, StepState

pytestmark = pytest.mark.feature("FLOW-3")
BEGAN = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def make_step(path: str, second: float, **values: object) -> Step:
    step = Step(
        *(path, 1, "prompt", StepState.DONE, "", 1, None, None, None, "", "", None, (), 10, 1, 1),
        started_at=BEGAN + timedelta(seconds=second),
        finished_at=BEGAN + timedelta(seconds=second + 1),
    )
    return replace(step, **values)  # type: ignore[arg-type]


def test_a_short_run_has_a_bar_for_each_step() -> None:
    steps = [make_step(f"each/{number}/ask", number) for number in range(MOST_BARS)]
    assert [bar.name for bar in list_bars(steps)] == [step.path for step in steps]


def test_a_long_run_has_a_bar_for_all_that_do_the_same_from_the_first_beginning_to_the_last_end() -> None:
    steps = [make_step("start", 0), *(make_step(f"each/{number}/ask", 1 + number) for number in range(1_000))]
    steps[500] = replace(steps[500], state=StepState.FAILED, cost_nano_usd=None, attempts=3)
    bars = list_bars(steps)
    assert [(bar.name, len(bar.steps), bar.state) for bar in bars] == [
        ("start", 1, StepState.DONE),
        ("each/*/ask", 1_000, StepState.FAILED),
    ]
    row = bars[1].describe(BEGAN, BEGAN)
    assert (row["count"], row["begin"], row["end"], row["tries"]) == (1_000, 1_000.0, 1_001_000.0, 3)
    assert row["cost"].startswith("≥"), "one of its costs is unknown"
    spec = build_timeline(bars, None).to_dict()
    assert len(next(iter(spec["datasets"].values()))) == 2
    going = [*steps, make_step("each/7/again", 3, state=StepState.RUNNING, finished_at=None)]
    assert list_bars(going)[-1].state is StepState.RUNNING
