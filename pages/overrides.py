"""Parameters for some calls only, by app, context and configuration, and what a call is sent with in the end."""

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import blocks, session, session_keys
from lib.ui.configurations import overrides

actor = session.require(Permission.VIEW_CONFIGS)
services = session.ensure_services()
compact = blocks.is_compact()
may_edit = actor.can(Permission.EDIT_CONFIGS)

with blocks.show_header("Overrides"):
    if st.button(
        "New" if compact else "New override",
        icon=":material/add:",
        type="primary",
        disabled=not may_edit,
    ):
        st.dialog("New override", width="medium")(overrides.draw_editor)(services, actor, None)

if (error := st.session_state.pop(session_keys.OVERRIDE_ERROR, None)) is not None:
    blocks.show_error(error)

everything = services.overrides.list(actor)
configurations = services.configurations.list(actor)
slugs = {c.id: c.slug for c in configurations}
if everything:
    selected = st.query_params.get("id") or (None if compact else everything[0].id)
    table_column, panel_column = (st.container(), None) if compact else st.columns([1.9, 1], gap="small")
    with table_column:
        selected_id = overrides.draw_table(everything, slugs, selected, compact=compact)
        active = sum(o.is_active for o in everything)
        noun = "override" if len(everything) == 1 else "overrides"
        st.caption(f"{len(everything)} {noun}, {active} on · applied from the top to the bottom, the last one wins")
    if selected_id is not None and selected_id != selected:
        st.query_params["id"] = selected_id
    current = next((o for o in everything if o.id == (selected_id or selected)), None)
    with panel_column.container(border=True) if panel_column is not None else st.container(border=current is not None):
        if current is not None:
            overrides.draw_detail(services, actor, current, slugs)
        elif panel_column is not None:
            st.caption("Select an override to see and change it.")
else:
    with blocks.show_empty_state(
        "layers", "No overrides yet", "An override changes parameters for an app, a context or a configuration."
    ):
        if st.button("New override", icon=":material/add:", disabled=not may_edit, key="first-override"):
            st.dialog("New override", width="medium")(overrides.draw_editor)(services, actor, None)

with st.container(border=True):
    overrides.draw_preview(services, actor, configurations, everything)
