"""Custom metrics as a table and as a chart: what `lib.activity.custom_metrics` answers, drawn in the product's look."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import altair as alt
import pandas as pd

from lib.statistics.charts.chart_theme import ACCENT, AXIS_COUNT, TIP_COUNT, style
from lib.statistics.charts.figure_charts import MARK

_COLUMNS = ["key", "count", "calls", "mean", "p50", "p95", "min", "max", "sum", "true_share", "most_frequent"]


def build_key_table(keys: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each key; what its values have no figure of is missing. `true_share` becomes percent."""
    rows = [
        {
            **key,
            "true_share": None if key["true_share"] is None else key["true_share"] * 100,
            "most_frequent": ", ".join(f"{text[:60]} ({count})" for text, count in key["values"]) or None,
        }
        for key in keys
    ]
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    return frame.astype(dict.fromkeys([*_COLUMNS[3:9], "true_share"], "float64"))


def build_day_table(days: Iterable[tuple[date, int, float]]) -> pd.DataFrame:
    """A row for each day: day (as 2026-10-31), count, mean."""
    rows = [(day.isoformat(), count, mean) for day, count, mean in days]
    return pd.DataFrame(rows, columns=["day", "count", "mean"])


def build_daily_chart(frame: pd.DataFrame, first: str, last: str, height: int = 200) -> Any:
    """A key's mean on each day, from the first day of the range to its last."""
    span = alt.Scale(type="utc", domain=[f"{first}T00:00:00Z", f"{last}T00:00:00Z"])
    chart = (
        alt.Chart(frame)
        .mark_line(color=ACCENT, point=alt.OverlayMarkDef(color=ACCENT, cursor="pointer"))
        .encode(
            x=alt.X("day:T", title=None, scale=span, axis=alt.Axis(format="%-d %b", labelAngle=0, tickCount=8)),
            y=alt.Y("mean:Q", title=None, axis=alt.Axis(format=AXIS_COUNT, tickCount=4)),
            tooltip=[
                alt.Tooltip("day:N", title="Day"),
                alt.Tooltip("mean:Q", title="Mean", format=",.4~f"),
                alt.Tooltip("count:Q", title="Values", format=TIP_COUNT),
            ],
        )
        .add_params(alt.selection_point(name=MARK, fields=["day"], toggle=False))
    )
    return style(chart, height)
