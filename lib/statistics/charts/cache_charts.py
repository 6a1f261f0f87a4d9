"""What remembered answers saved, day by day."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from lib.statistics.charts.chart_theme import ACCENT, build_money_axis, style

TIERS = ("exact", "loose", "semantic")
_COLOURS = (ACCENT, "#5C75BC", "#DE7912")
_DAYS = alt.Axis(labelAngle=0, labelOverlap=True, labelExpr="timeFormat(timeParse(datum.value, '%Y-%m-%d'), '%-d %b')")


def build_savings_chart(frame: pd.DataFrame, days: Sequence[str] = ()) -> Any:
    """Stacked bars of what was saved a day and tier (columns day: YYYY-MM-DD, tier, hits, saved: dollars, label).

    `days` have their place on the axis whether or not anything was saved on them.
    """
    tiers = [tier for tier in TIERS if tier in set(frame.tier)]
    scale = alt.Scale(domain=tiers, range=[_COLOURS[TIERS.index(tier)] for tier in tiers])
    largest = float(frame.groupby("day").saved.sum().max())
    bars = (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("day:O", title=None, axis=_DAYS, scale=alt.Scale(domain=sorted({*days, *frame.day}))),
            y=alt.Y("saved:Q", title=None, stack="zero", axis=build_money_axis(largest, tickCount=4)),
            color=alt.Color("tier:N", sort=tiers, scale=scale, legend=alt.Legend() if len(tiers) > 1 else None),
            tooltip=[
                alt.Tooltip("day:N", title="Day"),
                alt.Tooltip("tier:N", title="Tier"),
                alt.Tooltip("hits:Q", title="Hits", format=",.0f"),
                alt.Tooltip("label:N", title="Saved"),
            ],
        )
    )
    return style(bars, 200)
