"""One server beside the table: how it is and its last words, what can be done, its calls, its tools against their pins.

State and standard error follow by themselves; the rest stays as it is while somebody reads, until the tools change.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.clock import utc_now
from lib.errors import LLMManagerError
from lib.mcp.pins import Drift, PinnedTool, show_invisible
from lib.mcp.server import McpServer
from lib.mcp.sign_ins import ServerSignIn
from lib.services import Services
from lib.tools.execution_log import ExecutionFilter
from lib.ui import blocks, format, grammar, session, session_keys
from lib.ui.servers import server_forms
from lib.ui.tools import sign_in_tab, tool_cards

DRIFTS: dict[Drift, tuple[str, str]] = {  # a sign, and a word
    Drift.APPROVED: ("✓", "approved"),
    Drift.NEW: ("△", "new"),
    Drift.CHANGED: ("!", "changed"),
    Drift.VANISHED: ("!", "gone"),
    Drift.SERVER_CHANGED: ("!", "server changed"),
    Drift.COLLISION: ("⊘", "name taken"),
}
_EVERY = "2s"
_REASON_SHOWN = 1_200  # characters
_ERRORS_SHOWN = 20_000  # characters, of 64 kB
_CALLS_SHOWN = 10
_DAYS = 7
_MOST_DRAWN = 30  # tools that wait, each in full


def draw_panel(services: Services, actor: Actor, server: McpServer, zone: ZoneInfo) -> None:
    """Draw one server."""
    if server.title:
        st.markdown(blocks.escape_markdown(server.title))
    _draw_actions(services, actor, server)
    st.code(" ".join(server.command) or server.url, language=None, wrap_lines=True)
    follow_state(services, actor, server, zone)
    if server.takes_sign_in and server.is_approved:
        _draw_sign_in(services, actor, server)
    with st.expander("Calls", icon=":material/history:"):
        draw_calls(services, actor, server, zone)
    label = f"Tools · {len(server.waiting)} to approve" if server.waiting else "Tools"
    with st.expander(label, icon=":material/build:", expanded=bool(server.waiting)):
        draw_tools(services, actor, server)


def follow_state(services: Services, actor: Actor, server: McpServer, zone: ZoneInfo) -> None:
    """Draw the state, its reason and the end of standard error, again every two seconds."""
    pins = _list_pins(server)

    @st.fragment(run_every=_EVERY)
    def follow() -> None:
        with blocks.show_errors():
            current = services.servers.get(actor, server.name)
            _draw_state(current, zone)
            if _list_pins(current) != pins:
                st.rerun()

    follow()


def _list_pins(server: McpServer) -> list[tuple[str, Drift]]:
    return [(tool.tool, tool.drift) for tool in server.tools]


def _draw_state(server: McpServer, zone: ZoneInfo) -> None:
    state = server.state
    st.markdown(
        f"**{state.actual.capitalize()}** since {format.format_moment(state.since, zone)}, wanted {server.wanted}."
    )
    if state.reason:
        st.markdown(blocks.escape_markdown(show_invisible(state.reason[:_REASON_SHOWN])))
    st.caption("  \n".join(_describe(server)))
    if server.url:
        return  # only a program here has one
    with st.expander("Standard error", icon=":material/terminal:", expanded=not state.actual.answers):
        text = show_invisible(state.error_text[-_ERRORS_SHOWN:])
        st.code(text or "Nothing was said.", language=None, wrap_lines=True, height=220 if len(text) > 1_000 else None)


def _describe(server: McpServer) -> list[str]:
    """Lines of Markdown: which program and protocol, tools offered and waiting, what else is offered."""
    state = server.state
    lines = list[str]()
    if state.server_version:
        lines.append(f"{blocks.escape_markdown(state.server_version)} speaks {blocks.escape_markdown(state.protocol)}.")
    stale = " as last seen" if state.is_stale else ""
    offered = format.format_number_of(len(server.offered), "tool")
    waits = "waits" if len(server.waiting) == 1 else "wait"
    waiting = f", {len(server.waiting)} {waits} for approval" if server.waiting else ""
    lines.append(f"{offered} offered{waiting}{stale}.")
    if state.resources or state.prompts:
        lines.append(f"{len(state.resources)} resources and {len(state.prompts)} prompts.")
    if not server.is_approved:
        subject = "address" if server.url else "command"
        lines.append(f"It can't be started before its {subject} is approved.")
    return lines


def _draw_actions(services: Services, actor: Actor, server: McpServer) -> None:
    servers = services.servers
    with blocks.start_row(gap="xsmall"):
        if not server.is_approved:
            if st.button("Approve", icon=":material/verified:", key=f"approve-{server.id}"):
                st.dialog(f"Approve {server.name}?")(server_forms.approve_dialog)(services, actor, server)
        elif server.wanted == "on":
            _draw_deed("Stop", "stop", server, lambda: servers.stop(actor, server.name))
            _draw_deed("Restart", "restart_alt", server, lambda: servers.restart(actor, server.name))
        else:
            _draw_deed("Start", "play_arrow", server, lambda: servers.start(actor, server.name))
        if st.button("Edit", icon=":material/edit:", type="tertiary", key=f"edit-{server.id}"):
            st.dialog(f"Edit {server.name}", width="medium")(server_forms.edit_dialog)(services, actor, server)
        if server.wanted != "on" and st.button(
            ":red[Remove]", icon=":material/delete:", type="tertiary", key=f"remove-{server.id}"
        ):
            st.dialog(f"Remove {server.name}?")(server_forms.remove_dialog)(services, actor, server)


def _draw_deed(label: str, icon: str, server: McpServer, deed: Callable[[], object]) -> None:
    """A button that does something at once; what is refused is told above the table."""
    if st.button(label, icon=f":material/{icon}:", key=f"{icon}-{server.id}"):
        try:
            deed()
        except LLMManagerError as error:
            st.session_state[session_keys.SERVER_ERROR] = error
        st.rerun()


def _draw_sign_in(services: Services, actor: Actor, server: McpServer) -> None:
    entries = services.server_sign_ins.list(actor)
    entry = next((entry for entry in entries if entry.server.id == server.id), ServerSignIn(server, None))
    with st.container(border=True):
        sign_in_tab.draw_sign_in(services, actor, entry, "**Your sign-in**")
        count = len(server.signed_in)
        people = {0: "Nobody is", 1: "1 person is"}.get(count, f"{count:,} people are")
        st.caption(f"{people} signed in. Each acts there as themselves.")
        if server.issuer:
            client = f", where this installation is {server.client_id}" if server.client_id else ""
            st.caption(blocks.escape_markdown(f"They sign in at {server.issuer}{client}."))


def draw_calls(services: Services, actor: Actor, server: McpServer, zone: ZoneInfo) -> None:
    """Draw the newest calls of a server's tools."""
    recent = ExecutionFilter(server=server.name, since=utc_now() - timedelta(days=_DAYS))
    executions = services.tools.executions.list(actor, recent)[:_CALLS_SHOWN]
    if not executions:
        st.caption(f"None of its tools was called in {_DAYS} days.")
        return
    text = st.column_config.TextColumn
    st.dataframe(
        [
            {
                "time": execution.started_at.astimezone(zone).replace(tzinfo=None),
                "tool": execution.tool.removeprefix(f"{server.name}__"),
                "status": tool_cards.describe_status(execution.status)[0],
                "ms": execution.duration_ms,
            }
            for execution in executions
        ],
        hide_index=True,
        row_height=grammar.ROW_HEIGHT,
        placeholder="—",
        column_config={
            "time": st.column_config.DatetimeColumn("Time", format="D MMM HH:mm:ss", width=120),
            "tool": text("Tool", width=200),
            "status": text("Status", width=140),
            "ms": st.column_config.NumberColumn("Time, ms", format="localized", width=70),
        },
    )
    st.page_link(
        session.page("tools"), label="All runs of tools", icon=":material/build:", query_params={"tab": "runs"}
    )


def draw_tools(services: Services, actor: Actor, server: McpServer) -> None:
    """Draw the tools against their pins: those that wait in full with what changed, the others in a table."""
    if not server.tools:
        st.caption("It has not listed any tools yet.")
        return
    st.caption("Only approved tools are offered. What is invisible in a description is shown as ⟨U+200B⟩.")
    selected_tools = [tool.tool for tool in server.waiting[:_MOST_DRAWN] if _draw_waiting(server, tool)]
    if len(server.waiting) > _MOST_DRAWN:
        st.caption(f"{len(server.waiting) - _MOST_DRAWN} more wait. Approve these first, or all.")
    with blocks.start_row():
        if selected_tools and st.button(f"Approve {len(selected_tools)}", type="primary"):
            _approve(services, actor, server, selected_tools)
        if server.waiting and st.button("Approve all as listed now"):
            _approve(services, actor, server, None)
    if server.offered:
        _draw_approved(services, actor, server)


def _draw_waiting(server: McpServer, tool: PinnedTool) -> bool:
    """Draw a tool that waits; whether it is ticked."""
    with st.container(border=True):
        with blocks.start_row(gap="xsmall"):
            st.markdown(f"**{blocks.escape_markdown(tool.name)}**", width="stretch")
            st.badge(" ".join(DRIFTS[tool.drift]), color="orange")
        _draw_definition(tool)
        if tool.drift is Drift.COLLISION:
            return False
        label = "Forget" if tool.drift is Drift.VANISHED else "Approve"
        return st.checkbox(label, key=f"pin-{server.id}-{tool.tool}")


def _draw_approved(services: Services, actor: Actor, server: McpServer) -> None:
    tools = server.offered
    rows = [{"tool": tool.tool, "says": str(tool.definition.get("description") or "")[:200]} for tool in tools]
    text = st.column_config.TextColumn
    row = grammar.choose_row(
        rows,
        key=f"pins-{server.id}",
        height="content" if len(rows) < 10 else 320,
        column_config={"tool": text("Approved tool", width=170), "says": text("What it says", width=330)},
    )
    if row is None or row >= len(tools):
        return
    tool = tools[row]
    _draw_definition(tool)
    if st.button("Take the approval back", icon=":material/block:", type="tertiary", key=f"unpin-{server.id}"):
        grammar.confirm(
            f"Take the approval of {tool.tool} back?",
            "Models are not offered it any more.",
            keep="Keep approval",
            act="Take back",
            icon="block",
            undo="Approving it again takes it back.",
            action=lambda: services.servers.reject_tools(actor, server.name, [tool.tool]),
        )


def _draw_definition(tool: PinnedTool) -> None:
    for warning in tool.warnings:
        st.warning(blocks.escape_markdown(warning), icon=":material/visibility:")
    st.text(show_invisible(str(tool.definition.get("description") or "It has no description.")))
    if tool.diff:
        st.code("\n".join(tool.diff), language="diff", wrap_lines=True)
    st.json({key: value for key, value in tool.definition.items() if key != "description"}, expanded=False)


def _approve(services: Services, actor: Actor, server: McpServer, tools: Sequence[str] | None) -> None:
    try:
        services.servers.approve_tools(actor, server.name, tools)
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    st.rerun()
