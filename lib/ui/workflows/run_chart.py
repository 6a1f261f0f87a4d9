"""The timeline of a run: a bar for each step, coloured by its state."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from lib.clock import utc_now
from lib.money import format_sum
from lib.workflows.run import Step

_COLOURS = {
    "done": "#33A582",
    "running": "#5C75BC",
    "waiting": "#DE7912",
    "failed": "#C0392B",
    "cancelled": "#8A8F96",
    "unknown": "#8A8F96",
}
_ROW_PX = 22
_MOST_UNSCROLLED = 24  # steps; the box of a longer timeline scrolls
_BOX_PX = 560
_AROUND_PX = 90  # of legend and axis, which are part of the height


def measure_timeline(count: int) -> int | None:
    """The height in pixels of the box that a timeline of so many steps scrolls in; None for one that needs none."""
    return _BOX_PX if count > _MOST_UNSCROLLED else None


def build_timeline(steps: Sequence[Step], ended_at: datetime | None) -> Any:
    """Build the chart of steps over milliseconds since the first began; one that goes on ends now."""
    import altair as alt
    import pandas as pd

    from lib.statistics.charts import chart_theme

    zero = min(step.started_at for step in steps)
    until = ended_at or utc_now()
    frame = pd.DataFrame(
        [
            {
                "step": step.path,
                "state": str(step.state),
                "begin": (step.started_at - zero).total_seconds() * 1000,
                "end": max(((step.finished_at or until) - zero).total_seconds() * 1000, 1.0),
                "kind": step.kind,
                "cost": format_sum(step.cost_nano_usd, step.has_partial_cost),
                "tries": step.attempts,
            }
            for step in steps
        ]
    )
    order = [step.path for step in steps]
    height = measure_timeline(len(steps))
    states = [state for state in _COLOURS if state in set(frame.state)]
    colour = chart_theme.build_colour("state", states, [_COLOURS[state] for state in states])
    chart = alt.Chart(frame, description=f"Timeline of {len(steps)} steps")
    bars: alt.Chart = chart.mark_bar(cornerRadius=2, minBandSize=6).encode(
        x=alt.X("begin:Q", title="Milliseconds", axis=alt.Axis(orient="bottom" if height is None else "top")),
        x2="end:Q",
        y=alt.Y("step:N", sort=order, title=None, axis=alt.Axis(labelLimit=220, labelOverlap=False)),
        color=colour,
        tooltip=[
            alt.Tooltip("step", title="Step"),
            alt.Tooltip("kind", title="Kind"),
            alt.Tooltip("state", title="State"),
            alt.Tooltip("begin:Q", title="Began, ms", format=",.0f"),
            alt.Tooltip("end:Q", title="Ended, ms", format=",.0f"),
            alt.Tooltip("cost", title="Cost"),
            alt.Tooltip("tries", title="Tries"),
        ],
    )
    return chart_theme.style(bars, _ROW_PX * len(steps) + _AROUND_PX)
