"""Runs of tools on the page Tools: filters in the address, the table, one run whole."""

from collections.abc import Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.clock import shorten_id, utc_now
from lib.errors import LLMManagerError
from lib.money import format_sum
from lib.services import Services
from lib.tools.execution_log import PAGE_SIZE, ExecutionFilter, ToolFigures
from lib.tools.tool import ExecutionStatus, ToolExecution
from lib.ui import blocks, format, grammar, session, session_keys
from lib.ui.tools import tool_cards

_PERIODS = {"24 hours": 1, "7 days": 7, "30 days": 30, "90 days": 90}
_KEYS = ("run-tool", "run-status", "run-period")
PARAMETER = "run"


def draw_filters(names: Sequence[str]) -> ExecutionFilter:
    """Draw the filters; returns what they ask for."""
    with blocks.start_row():
        tool = st.selectbox(
            "Tool",
            names,
            index=None,
            placeholder="Tool · all",
            label_visibility="collapsed",
            width=210,
            key="run-tool",
            bind="query-params",
            accept_new_options=True,
        )
        status = st.selectbox(
            "Status",
            [str(status) for status in ExecutionStatus],
            index=None,
            format_func=lambda status: tool_cards.describe_status(status)[0],
            placeholder="Status · all",
            label_visibility="collapsed",
            width=190,
            key="run-status",
            bind="query-params",
        )
        period = st.selectbox(
            "Period",
            list(_PERIODS),
            index=1,
            label_visibility="collapsed",
            width=120,
            key="run-period",
            bind="query-params",
        )
        if tool or status:
            st.button("Clear", icon=":material/close:", type="tertiary", on_click=_clear)
    since = utc_now().replace(minute=0, second=0, microsecond=0) - timedelta(days=_PERIODS[period or "7 days"])
    return ExecutionFilter(tool=tool, status=status, since=since)


def draw_figures(figures: Sequence[ToolFigures]) -> None:
    """Draw how often tools ran, how often they failed, how long they took and what they cost."""
    runs = sum(of_tool.runs for of_tool in figures)
    failed = sum(of_tool.failed for of_tool in figures)
    known_costs = [of_tool.cost_nano_usd for of_tool in figures if of_tool.cost_nano_usd is not None]
    times = [(of_tool.mean_ms, of_tool.runs) for of_tool in figures if of_tool.mean_ms is not None]
    counted = sum(count for _, count in times)
    mean = sum(mean * count for mean, count in times) / counted if counted else None
    with st.grid(4, min_column_width=140, gap="small"):
        st.metric("Runs", format.format_count(runs), border=True)
        st.metric("Failed", format.format_share(failed / runs) if runs else "—", border=True)
        st.metric("Mean time", format.format_duration(mean), border=True)
        st.metric(
            "Cost",
            format_sum(sum(known_costs), 0) if known_costs else "—",
            border=True,
            help="Of tools with a price per use",
        )


def draw_table(executions: Sequence[ToolExecution], zone: ZoneInfo, *, compact: bool) -> None:
    """Draw runs, newest first; the opened one is marked."""
    is_narrow = grammar.get_opened(PARAMETER) is not None
    rows = [
        {
            "time": execution.started_at.astimezone(zone).replace(tzinfo=None),
            "tool": execution.tool,
            "status": [tool_cards.describe_status(execution.status)[0]],
            "app": execution.app,
            "origin": execution.origin,
            "duration": execution.duration_ms,
            "size": execution.result_bytes,
            "cost": None if execution.cost_nano_usd is None else format_sum(execution.cost_nano_usd, 0),
            "call": shorten_id(execution.call_id) if execution.call_id else None,
        }
        for execution in executions
    ]
    text = st.column_config.TextColumn
    number = st.column_config.NumberColumn
    words = list(tool_cards.STATUS_WORDS.values())
    ids = [execution.id for execution in executions]
    grammar.open_table(
        "runs",
        rows,
        ids,
        {
            "time": st.column_config.DatetimeColumn("Time", format="D MMM HH:mm:ss", width=120),
            "tool": text("Tool", width=150),
            "status": grammar.make_state_column("Status", [(label, colour) for label, colour, _ in words], 140),
            "app": text("App", width=88),
            "origin": text("From", width=84),
            "duration": number("Time, ms", format="localized", width=76),
            "size": number("Result, B", format="localized", width=80),
            "cost": text("Cost", width=70, alignment="right"),
            "call": text("Call", width=84),
        },
        order=["tool", "status"] if compact else ["time", "tool", "status"] if is_narrow else None,
        height="content" if len(rows) < 15 else grammar.TABLE_HEIGHT,
        parameter=PARAMETER,
        alt="Runs of tools, newest first",
    )


def draw_detail(execution: ToolExecution) -> None:
    """Draw one run whole, with the way to its call."""
    tool_cards.draw_execution(execution, is_open=True)
    if execution.call_id is not None:
        st.page_link(
            session.page("activity"),
            label=f"Call {shorten_id(execution.call_id)}",
            icon=":material/receipt_long:",
            query_params={"id": execution.call_id},
        )


def draw(services: Services, actor: Actor, names: Sequence[str], zone: ZoneInfo, *, compact: bool) -> None:
    """Draw the tab: filters, figures, runs, one of them."""
    criteria = draw_filters(names)
    page = int(st.session_state.get(session_keys.TOOL_RUNS_PAGE, 1))
    try:
        executions = services.tools.executions.list(actor, criteria, page)
        figures = services.tools.executions.figures(actor, criteria)
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    if not executions and page == 1:
        sentence = "A run of a tool stands here with its arguments, its result, its time and what it cost."
        with blocks.show_empty_state("build", "No tool ran in this time", sentence):
            if criteria.tool or criteria.status:
                st.button("Clear filters", icon=":material/close:", on_click=_clear)
            else:
                st.button("Try a tool", icon=":material/build:", on_click=_open_registry)
        return
    draw_figures(figures)

    def draw_rows() -> None:
        draw_table(executions, zone, compact=compact)
        count = "1 run" if len(executions) == 1 else f"{len(executions)} runs"
        st.caption(f"{count} on this page · times in {zone.key}")
        _draw_turning(page, len(executions))

    opened = grammar.get_opened(PARAMETER)
    execution = next((execution for execution in executions if execution.id == opened), None)
    detail = None
    if execution is not None:
        detail = grammar.Detail(grammar.escape_markdown(execution.tool), lambda: draw_detail(execution))
    grammar.show_beside(draw_rows, detail, parameter=PARAMETER)


def _draw_turning(page: int, count: int) -> None:
    if page == 1 and count < PAGE_SIZE:
        return
    with blocks.start_row():
        if st.button("Newer", type="tertiary", disabled=page == 1, icon=":material/chevron_left:"):
            st.session_state[session_keys.TOOL_RUNS_PAGE] = page - 1
            st.rerun()
        if st.button("Older", type="tertiary", disabled=count < PAGE_SIZE, icon=":material/chevron_right:"):
            st.session_state[session_keys.TOOL_RUNS_PAGE] = page + 1
            st.rerun()


def _open_registry() -> None:
    st.query_params.pop("tab", None)


def _clear() -> None:
    for key in _KEYS[:2]:
        st.session_state[key] = None
    st.session_state[session_keys.TOOL_RUNS_PAGE] = 1
