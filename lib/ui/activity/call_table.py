"""The activity log's table, its export menu and its footer. A click in a row writes its id into the address."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.activity.call_filter import ActivityFilter
from lib.activity.call_rows import ActivityPage, ActivityRow
from lib.clock import utc_now
from lib.money import convert_nano_to_usd, format_cost, format_sum, mark_least
from lib.services import Services
from lib.ui import blocks, format, grammar, session_keys
from lib.ui.activity import call_filters
from lib.ui.activity.call_panel import find_user_name, load_sample_names

_WIDE = ["time", "status", "provider", "model", "app", "user", "tokens", "cost", "duration"]
_BESIDE_PANEL = ["time", "status", "model", "app", "tokens", "cost"]
_COMPACT = ["time", "status", "model", "cost"]


def show_export_menu(services: Services, actor: Actor, criteria: ActivityFilter, *, disabled: bool) -> None:
    """Downloads of everything the filter finds, made when they are asked for."""
    activity = services.activity
    export_arguments = (actor, criteria, load_sample_names())
    kinds: list[tuple[str, str, str, Callable[[], Iterator[bytes]]]] = [
        ("CSV", "csv", "text/csv", lambda: activity.export_csv(*export_arguments)),
        ("CSV for Excel", "csv", "text/csv", lambda: activity.export_csv(*export_arguments, bom=True)),
        ("JSON", "json", "application/json", lambda: activity.export_json(*export_arguments)),
        ("SQL", "sql", "application/sql", lambda: activity.export_sql(*export_arguments)),
    ]
    with st.popover("Export", icon=":material/download:", disabled=disabled):
        for label, ending, mime, pieces in kinds:
            st.download_button(
                label,
                data=partial(_join_pieces, pieces),
                file_name=f"activity-{utc_now():%Y-%m-%d}.{ending}",
                mime=mime,
                on_click="ignore",
                type="tertiary",
                key=f"export-{label}",
            )
        st.caption("All pages, every attempt. Words only where you may read them.")


def _join_pieces(pieces: Callable[[], Iterator[bytes]]) -> bytes:
    return b"".join(pieces())


def show_rows(
    page: ActivityPage, criteria: ActivityFilter, names: Mapping[str, str], zone: ZoneInfo, selected: str | None
) -> None:
    """The table and its footer, or that nothing matches."""
    if page.rows:
        show_table(page, names, zone, selected)
        show_footer(page)
        return
    fact = "No call matches" if criteria.narrows else "No calls in this period"
    with blocks.show_empty_state(
        "search_off", fact, "Choose a longer period, or ask for less.", wide=selected is not None
    ):
        st.button("Clear filters", icon=":material/close:", on_click=call_filters.clear, key="clear-filters")


def show_table(page: ActivityPage, names: Mapping[str, str], zone: ZoneInfo, selected: str | None) -> None:
    """The page's rows; a click in one writes its id into the address."""
    import pandas as pd

    compact = blocks.is_compact()
    ids = [row.id for row in page.rows]
    days = {row.started_at.astimezone(zone).date() for row in page.rows}
    lines = [_format_row(row, names, zone) for row in page.rows]
    frame = pd.DataFrame(lines).astype({"tokens": "Int64", "duration": "Int64"})
    grammar.open_table(
        "activity",
        frame,
        ids,
        _describe_columns(lines, compact, same_day=len(days) < 2),
        height="content" if len(ids) < page.size else grammar.TABLE_HEIGHT,
        order=_order_columns(page, compact, selected),
        alt="Calls, newest first",
    )


def _order_columns(page: ActivityPage, compact: bool, selected: str | None) -> list[str]:
    """The columns that fit; why a call failed stands beside its status as soon as one of the page did."""
    if compact:
        return _COMPACT
    columns = _BESIDE_PANEL if selected else _WIDE
    if not any(row.error_kind for row in page.rows):
        return columns
    instead = {"app"} if selected else {"user"}
    return [*columns[:2], "reason", *(name for name in columns[2:] if name not in instead)]


def _format_row(row: ActivityRow, names: Mapping[str, str], zone: ZoneInfo) -> dict[str, Any]:
    return {
        "time": row.started_at.astimezone(zone).replace(tzinfo=None),
        "status": [format.STATUS_GLYPHS[row.status]],
        "provider": row.provider,
        "model": row.model,
        "app": row.app,
        "user": find_user_name(row.user_id, row.user_name, names),
        "tokens": row.total_tokens,
        "cost": format_cost_cell(row),
        "duration": row.execution_time_ms if row.call_time_ms is None else round(row.call_time_ms),
        "reason": (row.error_kind or "").replace("_", " ") or None,
    }


def format_cost_cell(row: ActivityRow) -> str | None:
    """Four decimals; `$0` is free, `≈` an estimate, `≥` the known part, nothing is unknown or not charged."""
    nano = row.cost_nano_usd
    if nano is None or (row.usage_source == "none" and nano == 0):
        return None
    if nano < 100_000:
        return format_cost(nano, row.cost_status)
    mark = "≈ " if row.cost_status == "estimated" else ""
    return mark_least(f"{mark}${convert_nano_to_usd(nano):,.4f}", row.cost_status == "partial")


def _describe_columns(rows: Sequence[Mapping[str, Any]], compact: bool, same_day: bool) -> dict[str, Any]:
    config = st.column_config
    text = st.column_config.TextColumn
    time = ("HH:mm" if compact else "HH:mm:ss") if same_day else "D MMM HH:mm"
    return {
        "time": config.DatetimeColumn("Time", format=time, width=(50 if compact else 72) if same_day else 92),
        "status": config.MultiselectColumn(
            "Status",
            width=94 if compact else 104,
            options=list(format.STATUS_GLYPHS.values()),
            color=list(format.STATUS_COLOURS.values()),
        ),
        "reason": text("Reason", width=110, help="Why a call failed"),
        "provider": text("Provider", width=90),
        "model": text("Model", width=112 if compact else 140),
        "app": text("App", width=98),
        "user": text("User", width=90),
        "tokens": config.NumberColumn(
            "Tokens",
            format="localized",
            width=format.compute_column_width([f"{row['tokens'] or 0:,}" for row in rows], 62),
        ),
        "cost": text(
            "Cost",
            width=format.compute_column_width([row["cost"] or "" for row in rows], 72),
            alignment="right",
            help="— means that no price is known or nothing was charged.",
        ),
        "duration": config.NumberColumn(
            "Time, ms",
            format="localized",
            help="Of the whole call, with its retries and the waits between.",
            width=format.compute_column_width([f"{row['duration'] or 0:,}" for row in rows], 72),
        ),
    }


def show_footer(page: ActivityPage) -> None:
    """Which rows these are, what all pages sum to, and the way to the other pages."""
    first = (page.page - 1) * page.size + 1
    parts = [f"{first:,} – {min(first + page.size - 1, page.calls):,} of {page.calls:,} calls"] if page.calls else []
    parts += [f"{page.running} running"] if page.running else []
    parts += [format_sum(page.cost_nano_usd, page.unpriced)] if page.cost_nano_usd else []
    parts += [f"{page.unpriced:,} unpriced"] if page.unpriced else []
    with blocks.start_row(horizontal_alignment="distribute"):
        st.caption(blocks.escape_markdown(" · ".join(parts)), width="content")
        if page.pages > 1:
            _show_pager(page)


def _show_pager(page: ActivityPage) -> None:
    """Page numbers. A new key only where the address has moved on by itself, so that paging keeps the focus."""
    turns = st.session_state.get(session_keys.ACTIVITY_PAGE, 0)
    if st.session_state.get(f"{session_keys.ACTIVITY_PAGE}-{turns}", page.page) != page.page:
        turns = st.session_state[session_keys.ACTIVITY_PAGE] = turns + 1
    key = f"{session_keys.ACTIVITY_PAGE}-{turns}"

    def turn() -> None:
        if (number := st.session_state[key]) > 1:
            st.query_params["page"] = str(number)
        else:
            st.query_params.pop("page", None)

    visible = 3 if blocks.is_compact() else 5
    # It measures its room, and shows "1 … 3" where "1 2 3" would just fit: so it gets a little more.
    width = 92 + 48 * min(page.pages, visible)
    st.pagination(page.pages, default=page.page, max_visible_pages=visible, width=width, key=key, on_change=turn)
