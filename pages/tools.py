"""Tools: the registry with a form to try each one, and every run. The address names the selection: `?id=<name>`."""

from functools import partial

import streamlit as st

from lib.access.permissions import Permission
from lib.tools.tool_settings import NO_SETTINGS
from lib.ui import blocks, session
from lib.ui.tools import execution_table, http_form, stop_button, tool_files, tool_table

actor = session.require(Permission.VIEW_CONFIGS)
services = session.services()
compact = blocks.compact()
may_manage = actor.can(Permission.MANAGE_TOOLS)

with blocks.header("Tools"):
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
opened, tab = blocks.tabs(["Registry", "Runs"])
with tab:
    if opened == "Runs":
        zone = services.preferences.report_zone(actor)
        execution_table.draw(services, actor, [tool.name for tool in definitions], zone, compact=compact)
        st.stop()
    with blocks.row():
        search_words = st.text_input(
            "Search",
            placeholder="Name or words",
            icon=":material/search:",
            label_visibility="collapsed",
            width="stretch" if compact else 230,
            key="q",
            bind="query-params",
        )
        source = st.selectbox(
            "Source",
            tool_table.SOURCES,
            index=None,
            format_func=tool_table.SOURCES.__getitem__,
            placeholder="Source · all",
            label_visibility="collapsed",
            width=150,
            key="tool-source",
        )
    tools = tool_table.choose_tools(definitions, search_words or "", source)
    if not tools:
        with blocks.empty_state("search_off", "Nothing matches", "No tool has these words."):
            st.button("Clear search", icon=":material/close:", on_click=tool_table.clear_search)
        st.stop()
    settings = services.tools.settings(actor)
    count = "1 tool" if len(tools) == 1 else f"{len(tools):,} tools"
    st.caption(f"{count} · runs, failures, time and cost of the last {tool_table.FIGURES_DAYS} days")
    selected = st.query_params.get("id")
    figures = tool_table.read_figures(services, actor)
    name = tool_table.draw_table(tools, settings, figures, selected, compact=compact) or selected
    current = next((tool for tool in tools if tool.name == name), None)
    if current is None:
        st.caption("Select a tool to see what models are told of it, to try it and to say who may use it.")
    else:
        st.query_params["id"] = current.name
        tool_table.draw_panel(services, actor, current, settings.get(current.name, NO_SETTINGS))
