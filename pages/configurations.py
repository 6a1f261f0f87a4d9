"""Which app uses which model, and how: table and detail panel. The address names the selection: `?id=<name>`."""

from functools import partial

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import blocks, session, session_keys
from lib.ui.configurations import configuration_form, configuration_table

actor = session.require(Permission.VIEW_CONFIGS)
services = session.ensure_services()
compact = blocks.is_compact()
may_create = actor.can(Permission.CREATE_CONFIGS)

with blocks.show_header("Configurations"):
    with st.popover("" if compact else "More", icon=":material/more_horiz:", type="tertiary", help="Export and import"):
        st.download_button(
            "Export as JSON",
            data=partial(services.configurations.export_json, actor),
            file_name="configurations.json",
            mime="application/json",
            icon=":material/download:",
        )
        if st.button("Import", icon=":material/upload:", disabled=not may_create):
            st.dialog("Import configurations")(configuration_table.import_dialog)(services, actor)
    if st.button(
        "New" if compact else "New configuration", icon=":material/add:", type="primary", disabled=not may_create
    ):
        st.dialog("New configuration", width="medium")(configuration_form.draw_editor)(services, actor, None)

if (error := st.session_state.pop(session_keys.CONFIGURATION_ERROR, None)) is not None:
    blocks.show_error(error)

everything = services.configurations.list(actor)
if not everything:
    with blocks.show_empty_state(
        "tune", "No configurations yet", "A configuration says which model answers an app, and how."
    ):
        st.caption("Create one with New configuration, or import a file.", text_alignment="center")
    st.stop()

apps = sorted({c.app for c in everything})
with blocks.start_row():
    search_words = st.text_input(
        "Search",
        placeholder="Name, model or provider",
        icon=":material/search:",
        label_visibility="collapsed",
        width="stretch" if compact else 230,
        key="q",
        bind="query-params",
    )
    app = st.selectbox(
        "App",
        apps,
        index=None,
        placeholder="App · all",
        label_visibility="collapsed",
        width=160,
        key="configurations_app",
    )

matching = [
    c
    for c in everything
    if (app is None or c.app == app)
    and (search_words or "").casefold() in f"{c.slug} {c.model} {c.provider_name} {c.description}".casefold()
]
if not matching:
    with blocks.show_empty_state("search_off", "Nothing matches", "No configuration has these words or this app."):
        st.caption("Clear the search to see all.", text_alignment="center")
    st.stop()

selected = st.query_params.get("id") or (None if compact else matching[0].slug)
table_column, panel_column = (st.container(), None) if compact else st.columns([1.9, 1], gap="small")
with table_column:
    selected_slug = configuration_table.draw_table(matching, selected, compact=compact)
    ready = sum(c.needs is None for c in matching)
    st.caption(f"{len(matching)} of {len(everything)} configurations · {ready} ready")
if selected_slug != selected and selected_slug is not None:
    st.query_params["id"] = selected_slug
current = next((c for c in matching if c.slug == (selected_slug or selected)), None)
if panel_column is not None:
    with panel_column.container(border=True):
        if current is None:
            st.caption("Select a configuration to see, test and change it.")
        else:
            configuration_table.draw_detail(services, actor, current)
elif current is not None and selected_slug:
    with st.container(border=True):
        configuration_table.draw_detail(services, actor, current)
