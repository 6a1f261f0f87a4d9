"""Servers of tools, a row each: wanted, actual, why, tools, calls. The address names the opened one: `?id=<name>`."""

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import blocks, session, session_keys
from lib.ui.servers import bundled_settings, server_forms, server_table

actor = session.require(Permission.MANAGE_TOOLS)
services = session.ensure_services()
compact = blocks.is_compact()

with blocks.show_header("MCP servers"):
    everything = services.servers.list(actor)
    if any(server.wanted == "on" for server in everything) and st.button(
        "" if compact else "Stop all", icon=":material/stop_circle:", type="tertiary", help="Stop every server"
    ):
        st.dialog("Stop every server?")(server_forms.stop_all_dialog)(services, actor)
    if st.button("Add" if compact else "Add server", icon=":material/add:", type="primary"):
        st.dialog("Add server", width="medium")(server_forms.add_dialog)(services, actor)

if (error := st.session_state.pop(session_keys.SERVER_ERROR, None)) is not None:
    blocks.show_error(error)

opened, tab = blocks.show_tabs(["Servers", "Bundled"])
with tab:
    if opened == "Bundled":
        bundled_settings.show(services, actor)
    else:
        server_table.draw_servers(services, actor, compact=compact)
