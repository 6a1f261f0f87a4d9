"""The timeline of a run: a bar for each step, coloured by its state; of a long run, a bar for each group of steps."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lib.clock import utc_now
from lib.money import format_sum
from lib.workflows.run import Step, StepState

MOST_BARS = 100
_COLOURS = {  # the first one that a group has is the group's
    StepState.RUNNING: "#5C75BC",
    StepState.WAITING: "#DE7912",
    StepState.FAILED: "#C0392B",
    StepState.UNKNOWN: "#8A8F96",
    StepState.CANCELLED: "#8A8F96",
    StepState.DONE: "#33A582",
}
_LEGEND = (StepState.DONE, *(state for state in _COLOURS if state is not StepState.DONE))
_ROW_PX = 22
_MOST_UNSCROLLED = 24  # bars; the box of a longer timeline scrolls
_BOX_PX = 560
_AROUND_PX = 90  # of legend and axis, which are part of the height


@dataclass(frozen=True)
class Bar:
    """One step, or steps that do the same for the members of a list: from the first's beginning to the last's end."""

    name: str
    steps: tuple[Step, ...]

    @property
    def state(self) -> StepState:
        """Where they are: at work before failed before done."""
        states = {step.state for step in self.steps}
        return next(state for state in _COLOURS if state in states)

    def describe(self, zero: datetime, until: datetime) -> dict[str, Any]:
        """Describe it as a row of the chart; what goes on ends `until`."""
        begin = min(step.started_at for step in self.steps)
        end = max(step.finished_at or until for step in self.steps)
        costs = [step.cost_nano_usd for step in self.steps if step.cost_nano_usd is not None]
        is_partial = len(costs) < len(self.steps) or any(step.has_partial_cost for step in self.steps)
        return {
            "step": self.name,
            "count": len(self.steps),
            "state": self.state.value,
            "begin": (begin - zero).total_seconds() * 1000,
            "end": max((end - zero).total_seconds() * 1000, 1.0),
            "kind": self.steps[0].kind,
            "cost": format_sum(sum(costs) if costs else None, bool(costs) and is_partial),
            "tries": max(step.attempts for step in self.steps),
        }


def list_bars(steps: Sequence[Step]) -> list[Bar]:
    """List the bars of a timeline in the order in which they began: of a long run, `each/*/ask` is one for all."""
    if len(steps) <= MOST_BARS:
        return [Bar(step.path, (step,)) for step in steps]
    groups: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        groups["/".join("*" if part.isdigit() else part for part in step.path.split("/"))].append(step)
    return [Bar(name, tuple(members)) for name, members in groups.items()]


def measure_timeline(count: int) -> int | None:
    """The height in pixels of the box that a timeline of so many bars scrolls in; None for one that needs none."""
    return _BOX_PX if count > _MOST_UNSCROLLED else None


def build_timeline(bars: Sequence[Bar], ended_at: datetime | None) -> Any:
    """Build the chart of bars over milliseconds since the first began; one that goes on ends now."""
    import altair as alt
    import pandas as pd

    from lib.statistics.charts import chart_theme

    zero = min(step.started_at for bar in bars for step in bar.steps)
    until = ended_at or utc_now()
    frame = pd.DataFrame([bar.describe(zero, until) for bar in bars])
    order = [bar.name for bar in bars]
    height = measure_timeline(len(bars))
    shown = [state for state in _LEGEND if state in set(frame.state)]
    colour = chart_theme.build_colour("state", [str(state) for state in shown], [_COLOURS[state] for state in shown])
    chart = alt.Chart(frame, description=f"Timeline of {sum(len(bar.steps) for bar in bars)} steps")
    marks: alt.Chart = chart.mark_bar(cornerRadius=2, minBandSize=6).encode(
        x=alt.X("begin:Q", title="Milliseconds", axis=alt.Axis(orient="bottom" if height is None else "top")),
        x2="end:Q",
        y=alt.Y("step:N", sort=order, title=None, axis=alt.Axis(labelLimit=220, labelOverlap=False)),
        color=colour,
        tooltip=[
            alt.Tooltip("step:N", title="Step"),
            alt.Tooltip("count:Q", title="Steps", format=",.0f"),
            alt.Tooltip("kind:N", title="Kind"),
            alt.Tooltip("state:N", title="State"),
            alt.Tooltip("begin:Q", title="Began, ms", format=",.0f"),
            alt.Tooltip("end:Q", title="Ended, ms", format=",.0f"),
            alt.Tooltip("cost:N", title="Cost"),
            alt.Tooltip("tries:Q", title="Tries"),
        ],
    )
    return chart_theme.style(marks, _ROW_PX * len(bars) + _AROUND_PX)
