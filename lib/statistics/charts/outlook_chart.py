"""What stands on a chart of daily cost besides its bars: the forecast, its interval, and marks on unusual days."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from lib.money import NANO_PER_USD, USD, format_money
from lib.statistics.anomalies import Anomaly
from lib.statistics.charts.chart_theme import ACCENT
from lib.statistics.forecast import DayAhead
from lib.statistics.measures import Dimension


def build_layers(
    x: alt.X, axis: alt.Axis, ahead: Sequence[DayAhead], marks: Sequence[Anomaly], currency: str = USD
) -> list[Any]:
    """Charts to lay over the bars: a dashed line, its interval at 15 % opacity, triangles; none for nothing."""
    charts = list[Any]()
    if ahead:
        charts += _build_forecast(x, axis, ahead, currency)
    if marks:
        charts.append(_build_marks(x, axis, marks))
    return charts


def format_reason(mark: Anomaly) -> str:
    """`gpt-5.1, 2.6× usual`: the model or app that moved most, and the day's multiple; a chart names no person."""
    who = next((mover.value for mover in mark.movers if mover.dimension is not Dimension.USER), "")
    return ", ".join(filter(None, [who, format_multiple(mark)]))


def format_multiple(mark: Anomaly) -> str:
    """The day's cost as a multiple of the usual, in words: `2.6× usual`."""
    return f"{mark.times:.1f}× usual" if mark.times is not None else "usually nothing"


def _build_forecast(x: alt.X, axis: alt.Axis, ahead: Sequence[DayAhead], currency: str) -> list[Any]:
    data = pd.DataFrame(
        {
            "bucket": day.day.isoformat(),
            "shown": day.cost_nano / NANO_PER_USD,
            "low": day.low_nano / NANO_PER_USD,
            "high": day.high_nano / NANO_PER_USD,
            "label": "{}, {} to {}".format(
                *(format_money(nano, currency) for nano in (day.cost_nano, day.low_nano, day.high_nano))
            ),
        }
        for day in ahead
    )
    base = alt.Chart(data).encode(x=x, tooltip=[alt.Tooltip("label:N", title="Forecast")])
    band = base.mark_area(color=ACCENT, opacity=0.15).encode(y=alt.Y("low:Q", title=None, axis=axis), y2="high:Q")
    line = base.mark_line(color=ACCENT, strokeDash=[5, 4]).encode(y=alt.Y("shown:Q", title=None, axis=axis))
    return [band, line]


def _build_marks(x: alt.X, axis: alt.Axis, marks: Sequence[Anomaly]) -> Any:
    data = pd.DataFrame(
        {
            "bucket": mark.day.isoformat(),
            "shown": mark.cost_nano / NANO_PER_USD,
            "sign": "▲" if mark.cost_nano > mark.usual_nano else "▼",
            "label": format_reason(mark),
        }
        for mark in marks
    )
    return (
        alt.Chart(data)
        .mark_text(dy=-8, fontSize=12)
        .encode(
            x=x,
            y=alt.Y("shown:Q", title=None, axis=axis),
            text="sign:N",
            tooltip=[alt.Tooltip("label:N", title="Unusual")],
        )
    )
