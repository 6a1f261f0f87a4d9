"""The table of the page MCP servers: one row a server, with the opened one beside it.

Nothing waits for a server: all that is shown stands in SQL. The rows follow by themselves; the half page beside them
is drawn anew when another row is opened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.clock import utc_now
from lib.mcp.pins import Drift, show_invisible
from lib.mcp.server import ActualState, McpServer
from lib.services import Services
from lib.tools.execution_log import ExecutionFilter
from lib.ui import format, grammar
from lib.ui.servers import server_panel

STATE_WORDS: dict[ActualState, tuple[str, Any]] = {
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
_SHOWN: Mapping[str, tuple[ActualState, ...]] = {
    "running": (ActualState.READY, ActualState.NO_TOOLS, ActualState.STARTING, ActualState.RESTARTING),
    "broken": (ActualState.LOST, ActualState.CRASHED, ActualState.GIVEN_UP, ActualState.NEEDS_SIGN_IN),
    "off": (ActualState.OFF,),
}
_LABELS = {"all": "All", "running": "Running", "broken": "Not working", "off": "Off"}
_WIDE = ["server", "wanted", "state", "reason", "since", "tools", "pins", "calls", "failed"]
_REASON_SHOWN = 160  # characters
_EVERY = "3s"
_DAYS = 7  # of the calls that a row counts
_MOST_UNSCROLLED = 18  # rows


@dataclass(frozen=True)
class ServerCalls:
    """Runs of a server's tools over the last days: how many ended, and how many of them failed."""

    runs: int = 0
    failed: int = 0


NO_CALLS = ServerCalls()


def draw_servers(services: Services, actor: Actor, *, compact: bool) -> None:
    """Draw the servers and the opened one; or, without any, what a server is."""
    servers = services.servers.list(actor)
    if not servers:
        sentence = "A server offers tools that models use, as a program here or at an address."
        with grammar.show_empty_state("hub", "No servers yet", sentence):
            st.button("See the bundled four", icon=":material/inventory_2:", on_click=_open_bundled)
        return
    filters = grammar.filter_row({"state": ("State", list(_LABELS))}, search="Name or words", labels=_LABELS)
    zone = services.preferences.report_zone(actor)
    opened = grammar.get_opened()

    @st.fragment(run_every=_EVERY)
    def draw_rows() -> None:
        if grammar.get_opened() != opened:  # a click here redraws this part alone, and the other has to follow
            st.rerun()
        _draw_rows(services, actor, filters, zone, is_narrow=compact or opened is not None)

    server = next((server for server in servers if server.name == opened), None)
    detail = None
    if server is not None:
        detail = grammar.Detail(
            grammar.escape_markdown(server.name), lambda: server_panel.draw_panel(services, actor, server, zone)
        )
    grammar.show_beside(draw_rows, detail, is_wide=True)


def _draw_rows(
    services: Services, actor: Actor, filters: Mapping[str, str], zone: ZoneInfo, *, is_narrow: bool
) -> None:
    servers = services.servers.list(actor)
    matching = choose_servers(servers, filters.get(grammar.SEARCH, ""), filters.get("state"))
    if not matching:
        with grammar.show_empty_state("search_off", "Nothing matches", "No server is like this."):
            names = [grammar.SEARCH, "state"]
            st.button("Clear search", icon=":material/close:", on_click=grammar.clear_filters, args=(names,))
        return
    calls = count_calls(services, actor)
    _draw_table(
        [_build_row(server, calls.get(server.name, NO_CALLS), zone) for server in matching], is_narrow=is_narrow
    )
    ready = sum(server.state.actual.answers for server in servers)
    waiting = sum(len(server.waiting) for server in servers)
    count = format.format_number_of(len(servers), "server")
    tools = format.format_number_of(waiting, "tool")
    waits = "waits" if waiting == 1 else "wait"
    st.caption(f"{count}, {ready} ready · {tools} {waits} for approval · calls of {_DAYS} days · times in {zone.key}")


def choose_servers(servers: Sequence[McpServer], words: str, state: str | None) -> list[McpServer]:
    """Choose the servers whose name, title, command or reason holds all words, in one group of states or in any."""
    search_words = words.lower().split()
    matching = []
    for server in servers:
        parts = (server.name, server.title, *server.command, server.url, server.state.reason)
        text = " ".join(parts).lower()
        is_in_state = state is None or server.state.actual in _SHOWN.get(state, ())
        if is_in_state and all(word in text for word in search_words):
            matching.append(server)
    return matching


def count_calls(services: Services, actor: Actor) -> Mapping[str, ServerCalls]:
    """Count the calls of each server's tools, by its name."""
    recent = ExecutionFilter(since=utc_now() - timedelta(days=_DAYS))
    calls: dict[str, ServerCalls] = {}
    for figures in services.tools.executions.figures(actor, recent):
        earlier = calls.get(figures.server, NO_CALLS)
        calls[figures.server] = ServerCalls(earlier.runs + figures.runs, earlier.failed + figures.failed)
    return calls


def _draw_table(rows: Sequence[Mapping[str, Any]], *, is_narrow: bool) -> None:
    text = st.column_config.TextColumn
    number = st.column_config.NumberColumn
    labels = list(STATE_WORDS.values())
    grammar.open_table(
        "servers",
        rows,
        [row["server"] for row in rows],
        {
            "server": text("Server", width=116),
            "wanted": text("Wanted", width=64),
            "state": grammar.make_state_column("State", labels, 124),
            "reason": text("Why", width=194),
            "since": st.column_config.DatetimeColumn("Since", format="D MMM HH:mm", width=92),
            "tools": number("Tools", format="localized", width=56, help="That models are offered"),
            "pins": text("Pins", width=100, help="Whether its tools are still what was approved"),
            "calls": number("Calls", format="localized", width=56, help=f"Of the last {_DAYS} days"),
            "failed": text("Failed", width=62, alignment="right"),
        },
        order=["server", "state"] if is_narrow else _WIDE,
        height="content" if len(rows) < _MOST_UNSCROLLED else grammar.TABLE_HEIGHT,
        alt="Servers of tools by name",
    )


def _build_row(server: McpServer, calls: ServerCalls, zone: ZoneInfo) -> dict[str, Any]:
    state = server.state
    unapproved = f"Its {'address' if server.url else 'command'} waits for approval."
    reason = show_invisible(state.reason) if server.is_approved else unapproved
    return {
        "server": server.name,
        "wanted": server.wanted,
        "state": [STATE_WORDS[state.actual][0]],
        "reason": reason[:_REASON_SHOWN] or None,
        "since": state.since.astimezone(zone).replace(tzinfo=None),
        "tools": len(server.offered),
        "pins": describe_pins(server),
        "calls": calls.runs,
        "failed": format.format_share(calls.failed / calls.runs) if calls.runs else None,
    }


def describe_pins(server: McpServer) -> str | None:
    """Say in a word or two whether tools are as approved: how many wait, and the most telling reason; None without."""
    if not server.tools:
        return None
    drifts = [tool.drift for tool in server.waiting]
    if not drifts:
        return "✓ approved"
    telling = next(drift for drift in (*_TELLING, Drift.NEW) if drift in drifts)
    return f"{server_panel.DRIFTS[telling][0]} {len(drifts)} {server_panel.DRIFTS[telling][1]}"


_TELLING = (Drift.SERVER_CHANGED, Drift.CHANGED, Drift.VANISHED, Drift.COLLISION)


def _open_bundled() -> None:
    st.query_params["tab"] = "bundled"
