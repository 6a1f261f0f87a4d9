"""Custom metrics on pages: of one call, to read and to add to; and of a range, as a table and a chart over days."""

import json
from collections.abc import Callable
from dataclasses import asdict, astuple
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.activity.call_rows import CallDetail
from lib.activity.custom_metric import CustomMetric, MetricType, parse
from lib.activity.custom_metrics import MetricRange
from lib.services import Services
from lib.ui import blocks, session

_COMPACT = ["key", "count", "mean", "true_share"]
_DETECT = "as written"


def show_call_metrics(services: Services, actor: Actor, detail: CallDetail) -> None:
    """Draw the custom metrics of a call, and the form to add one for the person who made the call."""
    call_id = str(detail.log["call_id"])
    table_spot = st.container()
    if detail.is_own:
        _show_form(services, actor, call_id)
    with table_spot:
        metrics = services.metrics.list(actor, call_id)
        if not metrics:
            st.caption("Nothing was noted about this call: a rating, a score, whether it helped.")
            return
        rows = [{"Key": metric.key, "Value": _format_metric(metric), "Type": metric.type.value} for metric in metrics]
        st.dataframe(rows, hide_index=True, row_height=30, height="content", alt="Custom metrics of this call")


def _show_form(services: Services, actor: Actor, call_id: str) -> None:
    with st.form(f"metric-{call_id}", border=False):
        key = st.text_input("Key", placeholder="answer.rating", max_chars=80)
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            value = st.text_input("Value", placeholder="4")
            kind = st.selectbox("Type", [_DETECT, *MetricType], width=130)
        if not st.form_submit_button("Add metric", icon=":material/add:"):
            return
    with blocks.show_errors():
        typed = parse(value, None if kind == _DETECT else kind)
        services.metrics.record(actor, call_id, key.strip(), typed.value, typed.type)
        st.toast("The metric is added.")


def _format_metric(metric: CustomMetric) -> str:
    return metric.value if metric.type is MetricType.STRING else json.dumps(metric.value, ensure_ascii=False)


def show_range_metrics(
    services: Services,
    actor: Actor,
    within: MetricRange,
    zone: ZoneInfo,
    days: tuple[date, date],
    behind: Callable[[datetime, datetime], dict[str, list[str]]],
) -> None:
    """Draw the card of all metric keys, and of one over days; nothing where no metric was recorded.

    `behind(start, end)` returns the address of the activity log for a day that was clicked.
    """
    from lib.statistics import metrics
    from lib.statistics.periods import compute_midnight
    from lib.ui.statistics import chart_card
    from lib.ui.statistics.models_table import write_file

    key_statistics = services.metrics.statistics(actor, None, within)
    if not key_statistics:
        return
    compact = blocks.is_compact()
    table = metrics.build_key_table(map(asdict, key_statistics))
    with st.container(border=True):
        st.subheader("Custom metrics", anchor=False)
        st.dataframe(
            table,
            hide_index=True,
            column_config=_describe_columns(),
            column_order=_COMPACT if compact else None,
            height="content" if len(table) < 12 else 380,
            row_height=30,
            placeholder="—",
            alt="Custom metrics by key",
        )
        with blocks.start_row():
            scope = "by period and app, not by the other filters"
            st.caption(f"{len(table)} {'key' if len(table) == 1 else 'keys'} · {scope}", width="stretch")
            st.download_button(
                "CSV",
                data=partial(write_file, table, "csv", partial(services.audit.note_export, actor, "metrics.export")),
                file_name=f"metrics-{days[0]}-to-{days[1]}.csv",
                mime="text/csv",
                type="tertiary",
                icon=":material/download:",
                on_click="ignore",
            )
        drawable = [statistics.key for statistics in key_statistics if statistics.numbers or statistics.booleans]
        if not drawable or days[0] == days[1]:
            return
        key = st.selectbox("Mean per day of", drawable, key="statistics-metric", width=320)
        frame = metrics.build_day_table(map(astuple, services.metrics.daily(actor, key, zone, within)))
        first, last = (day.isoformat() for day in days)
        alt = "Line: mean of a custom metric on each day"
        mark = chart_card.draw(metrics.build_daily_chart, frame, first, last, key="statistics-metric-days", alt=alt)
        if mark is not None and (day := mark.get("day")):
            clicked = date.fromisoformat(day)
            moments = compute_midnight(clicked, zone), compute_midnight(clicked + timedelta(days=1), zone)
            st.switch_page(session.page("activity"), query_params=behind(*moments))


def _describe_columns() -> dict[str, Any]:
    number = st.column_config.NumberColumn
    text = st.column_config.TextColumn
    percentile = "At least so many percent of the values are this or less."
    return {
        "key": text("Key", width=170),
        "count": number("Values", format="localized"),
        "calls": number("Calls", format="localized"),
        "mean": number("Mean", format="%.4g", help="Of numbers alone; — where a key has none."),
        "p50": number("p50", format="%.4g", help=percentile),
        "p95": number("p95", format="%.4g", help=percentile),
        "min": number("Least", format="%.4g"),
        "max": number("Most", format="%.4g"),
        "sum": number("Sum", format="%.6g"),
        "true_share": number("True", format="%.1f %%", help="Share of true among true and false."),
        "most_frequent": text("Most frequent texts", width=220),
    }
