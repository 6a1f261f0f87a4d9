"""The parts of the dashboard: sample data in and out, cost by provider, top apps, what failed last."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor, Role
from lib.activity.call_filter import CUSTOM, ActivityFilter
from lib.activity.call_rows import ActivityRow
from lib.errors import LLMManagerError
from lib.money import format_sum
from lib.services import Services
from lib.statistics.charts import figure_charts
from lib.statistics.filters import Measure
from lib.statistics.queries import Figures
from lib.statistics.tables import convert_to_records
from lib.ui import blocks, format, grammar, session
from lib.ui.statistics import chart_card, outlook
from lib.ui.statistics.report_context import Scene

if TYPE_CHECKING:
    import pandas as pd

FAILED = ("error", "timeout", "truncated", "orphaned")
SAMPLE_CALLS = 20_000


def show_empty(services: Services, actor: Actor) -> None:
    """Nothing has been called yet: the way to the first call, or a year of sample calls."""
    fact = "No calls yet"
    sentence = (
        "Every model call your team makes shows up here with its cost, speed and result. "
        "Make the first one, or look around with sample data."
    )
    wants_sample = False
    st.space("medium")
    with blocks.show_empty_state("query_stats", fact, sentence):
        if st.button("Open the playground", type="primary", icon=":material/play_circle:"):
            st.switch_page(session.page("playground"))
        if actor.role is Role.SUPER_ADMIN:
            wants_sample = st.button("Load sample data", icon=":material/science:")
    st.caption(
        "The bundled local model works offline and costs nothing. Sample data is marked and leaves with one click.",
        text_alignment="center",
    )
    if wants_sample:
        _load_sample_data(services, actor)


def _load_sample_data(services: Services, actor: Actor) -> None:
    _, middle, _ = st.columns([0.01, 1, 0.01] if blocks.is_compact() else [1, 1.7, 1])
    bar = middle.progress(0.0, f"0 of {SAMPLE_CALLS:,} sample calls")

    def show(done: int, total: int) -> None:
        bar.progress(done / total, f"{done:,} of {total:,} sample calls")

    try:
        services.demo.load(actor, SAMPLE_CALLS, progress=show)
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    st.rerun()


def show_sample_notice(services: Services, actor: Actor) -> None:
    """Say that the figures hold sample data, and let a super-admin take it away."""
    with st.container(border=True), blocks.start_row():
        st.markdown(
            ":gray[:material/science:] **Sample data is loaded.** Figures here, in Statistics and in Activity include "
            "a made-up year.",
            width="stretch",
        )
        if actor.role is Role.SUPER_ADMIN and st.button("Remove sample data", icon=":material/delete_sweep:"):
            _confirm_removal(services, actor)


@st.dialog("Remove the sample data?")
def _confirm_removal(services: Services, actor: Actor) -> None:
    st.markdown("Every sample call leaves the log and the statistics. Calls your team made stay as they are.")
    with st.container(horizontal=True, horizontal_alignment="right", gap="small"):
        if st.button("Keep sample data"):
            st.rerun()
        if st.button(":red[Remove sample data]"):
            with blocks.show_errors():
                removed = services.demo.remove(actor)
                st.toast(f"{removed:,} sample calls removed.")
                st.rerun()


def show_pauses(services: Services, actor: Actor) -> None:
    """Say what is stopped and, to who administers the team, which keys pause because their owner is away."""
    for stopped in services.stops.list(actor):
        text = f"{stopped.label.capitalize()}: stopped by {stopped.user_name}. {stopped.reason}".strip()
        st.warning(blocks.escape_markdown(text), icon=":material/front_hand:")
    if not actor.rules_team:
        return
    paused = [key.name for key in services.api_keys.list(actor) if key.state().startswith("owner")]
    if paused:
        names = ", ".join(paused[:5]) + (f" and {len(paused) - 5} more" if len(paused) > 5 else "")
        subject = "A key pauses" if len(paused) == 1 else f"{len(paused)} keys pause"
        text = f"{subject}: {names}. Their owner was switched off or left."
        st.warning(
            blocks.escape_markdown(f"{text} Take over what they have on Access, Teams."), icon=":material/pause_circle:"
        )


def show_over_time(scene: Scene, frame: "pd.DataFrame", title: str, view: outlook.View) -> None:
    """The card of cost over time by provider, with forecast and marks; a click opens the calls behind a mark."""
    st.subheader(title, anchor=False)
    if frame.value.fillna(0).sum() == 0:
        st.caption("Nothing was charged in this range.")
        return
    height = 270 if scene.compact else 352  # as tall as the two tables beside it
    mark = chart_card.draw(
        figure_charts.build_time_chart,
        frame,
        view.buckets(scene),
        scene.step,
        Measure.COST,
        scene.view.by,
        height=height,
        compact=scene.compact,
        currency=scene.currency,
        key="dashboard-over-time",
        alt=f"Stacked bars: {title}",
        **view.layers(scene),
    )
    for line in outlook.describe_unusual_days(view.unusual, scene.names, scene.currency):
        st.caption(line)
    if mark is not None and (bucket := next((b for b in scene.buckets if b.key == mark.get("bucket")), None)):
        query = scene.view.rows_behind(bucket.start, bucket.end, provider=mark.get("provider"))
        st.switch_page(session.page("activity"), query_params=query)


def show_top(by: str, frame: "pd.DataFrame", currency: str, most: int = 5) -> None:
    """The apps or models that cost most, with calls and failures."""
    st.subheader(f"Top {by}s", anchor=False)
    lines = [
        {
            by: row[by],
            "calls": row["calls"],
            "cost": format_sum(row["cost_nano_usd"], row["unpriced_calls"], currency),
            "errors": format.format_share(row["error_rate"]),
        }
        for row in convert_to_records(frame.head(most))
    ]
    st.dataframe(
        lines,
        hide_index=True,
        row_height=30,
        placeholder="—",
        column_config={
            by: st.column_config.TextColumn(by.capitalize(), width=112),
            "calls": st.column_config.NumberColumn(
                "Calls",
                format="localized",
                width=format.compute_column_width([f"{line['calls']:,}" for line in lines], 58),
            ),
            "cost": st.column_config.TextColumn(
                "Cost", alignment="right", width=format.compute_column_width([line["cost"] for line in lines], 60)
            ),
            "errors": st.column_config.TextColumn("Errors", alignment="right", width=66),
        },
    )


def show_errors_of_day(day: Figures) -> None:
    """Whether calls failed in the last 24 hours, and how many."""
    if day.failed_calls:
        st.page_link(
            session.page("activity"),
            label=f":red[{day.failed_calls:,} of {day.calls:,} calls failed in the last 24 h]",
            icon=":material/error:",
            query_params=ActivityFilter(period="24h", statuses=FAILED).to_query(),
            help="See these calls",
            width="content",
        )
    elif day.calls:
        many = f"{day.calls:,} calls in the last 24 h, no error"
        st.badge(many, icon=":material/check_circle:", color="green")


def show_failures(rows: Sequence[ActivityRow], names: Mapping[str, str], zone: ZoneInfo, *, compact: bool) -> None:
    """The last calls that failed, newest first; selecting one opens it in the log."""
    with blocks.start_row():
        st.subheader("Last failures", anchor=False, width="stretch")
        criteria = ActivityFilter(period="30d", statuses=FAILED)
        st.page_link(session.page("activity"), label="All failures", query_params=criteria.to_query())
    if not rows:
        st.caption("No call has failed in the last 30 days.")
        return
    lines = [
        {
            "time": row.started_at.astimezone(zone).replace(tzinfo=None),
            "status": [format.STATUS_GLYPHS[row.status]],
            "reason": (row.error_kind or "").replace("_", " ") or None,
            "provider": row.provider,
            "model": row.model,
            "app": row.app,
            "user": row.user_name or names.get(row.user_id or "", row.user_id),
        }
        for row in rows
    ]
    text = st.column_config.TextColumn
    position = grammar.choose_row(
        lines,
        placeholder="—",
        key="dashboard-failures",
        column_order=["time", "status", "model"] if compact else list(lines[0]),
        column_config={
            "time": st.column_config.DatetimeColumn("Time", format="D MMM HH:mm", width=92),
            "status": st.column_config.MultiselectColumn(
                "Status",
                width=104,
                options=[format.STATUS_GLYPHS[status] for status in FAILED],
                color=[format.STATUS_COLOURS[status] for status in FAILED],
            ),
            "reason": text("Reason"),
            "provider": text("Provider", width=96),
            "model": text("Model"),
            "app": text("App"),
            "user": text("User"),
        },
    )
    if position is not None and position < len(rows):
        row = rows[position]
        query = {"period": CUSTOM, "id": row.id}
        st.switch_page(session.page("activity"), query_params=query)
