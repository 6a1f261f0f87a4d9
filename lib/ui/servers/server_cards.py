"""The cards of the page MCP servers: state and reason, command, tools, and what can be done.

Nothing waits for a server: all that is shown stands in SQL.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.clock import utc_now
from lib.errors import LLMManagerError
from lib.mcp.pins import Drift, PinnedTool, show_invisible
from lib.mcp.server import ActualState, McpServer
from lib.services import Services
from lib.tools.execution_log import ExecutionFilter
from lib.ui import blocks, format, session_keys
from lib.ui.servers import server_forms

_BADGES: dict[ActualState, tuple[str, Any]] = {
    ActualState.OFF: ("○ off", "gray"),
    ActualState.STARTING: ("◌ starting", "blue"),
    ActualState.READY: ("✓ ready", "green"),
    ActualState.NO_TOOLS: ("△ no tools", "orange"),
    ActualState.LOST: ("! lost", "orange"),
    ActualState.RESTARTING: ("◌ restarting", "blue"),
    ActualState.NEEDS_SIGN_IN: ("! needs sign-in", "orange"),
    ActualState.CRASHED: ("! crashed", "red"),
    ActualState.GIVEN_UP: ("⊘ given up", "red"),
}
_DRIFTS: dict[Drift, str] = {
    Drift.APPROVED: "✓ approved",
    Drift.NEW: "△ new",
    Drift.CHANGED: "! changed",
    Drift.VANISHED: "! gone",
    Drift.SERVER_CHANGED: "! server changed",
    Drift.COLLISION: "⊘ name taken",
}
_REASON_SHOWN = 1_200  # characters
_EVERY = "3s"
_DAYS = 7  # of the calls that a card counts


@st.fragment(run_every=_EVERY)
def show_servers(services: Services, actor: Actor) -> None:
    """Every server, drawn again every few seconds."""
    everything = services.servers.list(actor)
    zone = services.preferences.report_zone(actor)
    if not everything:
        with blocks.empty_state(
            "hub", "No servers yet", "A server offers tools that models use, as a program here or at an address."
        ):
            if st.button("See the bundled four", icon=":material/inventory_2:"):
                st.query_params["tab"] = "bundled"
                st.rerun()
        return
    ready = sum(server.state.actual.answers for server in everything)
    waiting = sum(len(server.waiting) for server in everything)
    st.caption(f"{len(everything)} servers, {ready} ready · {waiting} tools wait for approval · times in {zone.key}")
    calls = count_calls(services, actor)
    with st.grid(1 if blocks.compact() else 2, min_column_width=340, gap="small"):
        for server in everything:
            show_card(services, actor, server, zone, calls.get(server.name, NO_CALLS))


@dataclass(frozen=True)
class ServerCalls:
    """Runs of a server's tools over the last days: ended, failed, and the slowest in milliseconds."""

    runs: int = 0
    failed: int = 0
    longest_ms: int | None = None

    def __str__(self) -> str:
        if not self.runs:
            return f"No calls in {_DAYS} days."
        slowest = "" if self.longest_ms is None else f", the slowest took {self.longest_ms:,} ms"
        return f"{self.runs:,} calls in {_DAYS} days, {self.failed:,} failed{slowest}."


NO_CALLS = ServerCalls()


def count_calls(services: Services, actor: Actor) -> Mapping[str, ServerCalls]:
    """Count the calls of each server's tools, by its name."""
    recent = ExecutionFilter(since=utc_now() - timedelta(days=_DAYS))
    calls: dict[str, ServerCalls] = {}
    for figures in services.tools.executions.figures(actor, recent):
        earlier = calls.get(figures.server, NO_CALLS)
        times = [ms for ms in (earlier.longest_ms, figures.longest_ms) if ms is not None]
        calls[figures.server] = ServerCalls(
            earlier.runs + figures.runs, earlier.failed + figures.failed, max(times, default=None)
        )
    return calls


def show_card(
    services: Services, actor: Actor, server: McpServer, zone: ZoneInfo, calls: ServerCalls = NO_CALLS
) -> None:
    """One server: wanted and actual, reason, command, tools, calls, actions."""
    label, colour = _BADGES[server.state.actual]
    with st.container(border=True, height="stretch"):
        with blocks.row(gap="xsmall"):
            st.subheader(blocks.plain(server.name), anchor=False, width="content")
            st.caption(f"wanted {server.wanted}", width="stretch")
            if not server.is_approved:
                st.badge("△ not approved", color="orange")
            st.badge(label, color=colour)
        if server.title:
            st.markdown(blocks.plain(server.title))
        st.code(" ".join(server.command) or server.url, language=None, wrap_lines=True)
        if server.state.reason:
            st.markdown(blocks.plain(show_invisible(server.state.reason[:_REASON_SHOWN])))
        st.caption("  \n".join([*_describe(server, zone), str(calls)]))
        _show_actions(services, actor, server)


def _describe(server: McpServer, zone: ZoneInfo) -> list[str]:
    """Lines of Markdown: since when, which program and protocol, tools offered and waiting."""
    state = server.state
    lines = [f"{state.actual.capitalize()} since {format.moment(state.since, zone)}."]
    if state.server_version:
        lines.append(f"{blocks.plain(state.server_version)} speaks {blocks.plain(state.protocol)}.")
    stale = " as last seen" if state.is_stale else ""
    lines.append(f"{len(server.offered)} tools offered, {len(server.waiting)} wait for approval{stale}.")
    if state.resources or state.prompts:
        lines.append(f"{len(state.resources)} resources and {len(state.prompts)} prompts.")
    if not server.is_approved:
        lines.append("It can't be started before its command is approved.")
    return lines


def _show_actions(services: Services, actor: Actor, server: McpServer) -> None:
    st.space("stretch")  # the buttons of cards beside each other stand on one line
    with blocks.row():
        if not server.is_approved:
            if st.button("Approve", icon=":material/verified:", type="tertiary", key=f"approve-{server.id}"):
                st.dialog(f"Approve {server.name}?")(server_forms.approve_dialog)(services, actor, server)
        elif server.wanted == "on":
            _show_deed("Stop", "stop", server, services.servers.stop, actor)
            _show_deed("Restart", "restart_alt", server, services.servers.restart, actor)
        else:
            _show_deed("Start", "play_arrow", server, services.servers.start, actor)
        if server.tools and st.button("Tools", icon=":material/build:", type="tertiary", key=f"tools-{server.id}"):
            st.dialog(f"Tools of {server.name}", width="large")(show_tools)(services, actor, server)
        if st.button("Log", icon=":material/terminal:", type="tertiary", key=f"log-{server.id}"):
            st.dialog(f"Standard error of {server.name}", width="large")(show_log)(services, actor, server)
        if st.button("Edit", icon=":material/edit:", type="tertiary", key=f"edit-{server.id}"):
            st.dialog(f"Edit {server.name}", width="medium")(server_forms.edit_dialog)(services, actor, server)
        if server.wanted != "on" and st.button(
            ":red[Remove]", icon=":material/delete:", type="tertiary", key=f"remove-{server.id}"
        ):
            st.dialog(f"Remove {server.name}?")(server_forms.remove_dialog)(services, actor, server)


def _show_deed(label: str, icon: str, server: McpServer, deed: Any, actor: Actor) -> None:
    """A button that does something at once; what is refused is told above the cards."""
    if st.button(label, icon=f":material/{icon}:", type="tertiary", key=f"{icon}-{server.id}"):
        try:
            deed(actor, server.name)
        except LLMManagerError as error:
            st.session_state[session_keys.SERVER_ERROR] = error
        st.rerun()


def show_log(services: Services, actor: Actor, server: McpServer) -> None:
    """The last of what the process said on standard error, followed while the dialog is open."""

    @st.fragment(run_every="2s")
    def follow() -> None:
        with blocks.errors_shown():
            state = services.servers.get(actor, server.name).state
            st.caption(f"{state.actual.capitalize()}. The last 64 kB; it follows by itself.")
            st.code(show_invisible(state.error_text[-20_000:]) or "Nothing was said.", language=None, wrap_lines=True)

    follow()


def show_tools(services: Services, actor: Actor, server: McpServer) -> None:
    """Every tool against its pin: what it says in full, what changed, what is odd; and the approval."""
    st.caption("Only approved tools are offered. What is invisible in a description is shown as ⟨U+200B⟩.")
    selected_tools = list[str]()
    for tool in server.tools:
        with st.container(border=True):
            with blocks.row(gap="xsmall"):
                st.markdown(f"**{blocks.plain(tool.name)}**", width="stretch")
                st.badge(_DRIFTS[tool.drift], color="green" if tool.is_offered else "orange")
            _show_tool(tool)
            if tool.drift not in (Drift.APPROVED, Drift.COLLISION) and st.checkbox(
                "Approve" if tool.drift is not Drift.VANISHED else "Forget", key=f"pin-{server.id}-{tool.tool}"
            ):
                selected_tools.append(tool.tool)
    with blocks.row():
        if selected_tools and st.button(f"Approve {len(selected_tools)}", type="primary"):
            _approve(services, actor, server, selected_tools)
        if server.waiting and st.button("Approve all as listed now"):
            _approve(services, actor, server, None)


def _show_tool(tool: PinnedTool) -> None:
    for warning in tool.warnings:
        st.warning(blocks.plain(warning), icon=":material/visibility:")
    st.text(show_invisible(str(tool.definition.get("description") or "It has no description.")))
    if tool.diff:
        st.code("\n".join(tool.diff), language="diff", wrap_lines=True)
    with st.expander("Definition"):
        st.json({key: value for key, value in tool.definition.items() if key != "description"}, expanded=1)


def _approve(services: Services, actor: Actor, server: McpServer, tools: list[str] | None) -> None:
    try:
        services.servers.approve_tools(actor, server.name, tools)
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    st.rerun()
