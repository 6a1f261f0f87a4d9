"""Tools: the registry with a form to try each one, and every run. The address names the selection: `?id=<name>`."""

from functools import partial

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import blocks, session
from lib.ui.tools import execution_table, http_form, sign_in_tab, stop_button, tool_files, tool_table

actor = session.require(Permission.VIEW_CONFIGS)
services = session.ensure_services()
compact = blocks.is_compact()
may_manage = actor.can(Permission.MANAGE_TOOLS)

with blocks.show_header("Tools"):
    with st.popover("" if compact else "More", icon=":material/more_horiz:", type="tertiary", help="Export and import"):
        st.download_button(
            "Export as JSON",
            data=partial(services.tool_exchange.export_json, actor),
            file_name="tools.json",
            mime="application/json",
            icon=":material/download:",
        )
        if st.button("Import", icon=":material/upload:", disabled=not may_manage):
            st.dialog("Import tools")(tool_files.import_dialog)(services, actor)
        if st.button("Stop all tools", icon=":material/front_hand:", disabled=not actor.sees_every_team):
            st.dialog("Stop all tools?")(stop_button.stop_dialog)(services, actor)
    if st.button("New" if compact else "New HTTP tool", icon=":material/add:", disabled=not may_manage):
        st.dialog("New HTTP tool", width="large")(http_form.create_dialog)(services, actor)

stop_button.draw_state(services, actor)
definitions = services.tools.definitions(actor)
opened, tab = blocks.show_tabs(["Registry", "Runs", "Sign-ins"])
with tab:
    if opened == "Runs":
        zone = services.preferences.report_zone(actor)
        execution_table.draw(services, actor, [tool.name for tool in definitions], zone, compact=compact)
        st.stop()
    if opened == "Sign-ins":
        sign_in_tab.draw(services, actor)
        st.stop()
    tool_table.draw_registry(services, actor, definitions, compact=compact)
