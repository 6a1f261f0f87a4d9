"""Charts of how well a collection is searched: figures with their intervals, and quality against what it costs."""

from typing import Any

import altair as alt
import pandas as pd

from lib.statistics.charts.chart_theme import ACCENT, style

_OTHER = "#8B97A6"
_CURRENT = "#DE7912"


def build_figure_chart(frame: pd.DataFrame) -> Any:
    """Means as points with their 95 % intervals (columns run, figure, value, low, high, label); one colour a run."""
    runs = list(dict.fromkeys(frame.run))
    names = list(dict.fromkeys(frame.figure))
    scale = alt.Scale(domain=runs, range=[_OTHER, ACCENT] if len(runs) > 1 else [ACCENT])
    base = alt.Chart(frame).encode(
        y=alt.Y("figure:N", sort=names, title=None),
        yOffset=alt.YOffset("run:N", sort=runs),
        color=alt.Color(
            "run:N", scale=scale, sort=runs, legend=alt.Legend(labelLimit=300, columns=1) if len(runs) > 1 else None
        ),
        tooltip=[
            alt.Tooltip("figure:N", title="Figure"),
            alt.Tooltip("label:N", title="Mean"),
            alt.Tooltip("run:N", title="Run"),
        ],
    )
    axis = alt.Scale(domain=[0, 1])
    ticks = alt.Axis(tickCount=5, format=".1f")
    bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=None, scale=axis, axis=ticks), x2="high:Q")
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X("value:Q", title=None, scale=axis, axis=ticks)
    )
    return style(bars + points, 34 * len(names) * len(runs) + 30)


def build_quality_chart(frame: pd.DataFrame, metric: str) -> Any:
    """Trials by tokens a question and figure (columns tokens, value, low, high, kind, label); the best are joined."""
    kinds = ["Now", "Best for its cost", "Other"]
    colour = alt.Color(
        "kind:N",
        sort=kinds,
        scale=alt.Scale(domain=kinds, range=[_CURRENT, ACCENT, _OTHER]),
        legend=alt.Legend(symbolOpacity=1),
    )
    zero = alt.Scale(zero=False)
    form = alt.Axis(format=".2f", tickCount=5)
    frame = frame.sort_values("is_best")  # the best on top
    x = alt.X("tokens:Q", title="Tokens that an answer reads, a question", scale=zero)
    tip = [alt.Tooltip("label:N", title="Trial"), alt.Tooltip("value:Q", title=metric, format=".3f")]
    base = alt.Chart(frame).encode(x=x, tooltip=tip)
    best = alt.Chart(frame[frame.is_best]).mark_line(color=ACCENT, strokeDash=[5, 4])
    line = best.encode(x=x, y=alt.Y("value:Q", title=metric, scale=zero, axis=form))
    spread = base.mark_rule(opacity=0.25).encode(y=alt.Y("low:Q", title=metric, axis=form), y2="high:Q", color=colour)
    points = base.mark_point(filled=True, size=80, opacity=1).encode(
        y=alt.Y("value:Q", title=metric, scale=zero, axis=form), color=colour
    )
    return style(line + spread + points, 320)
