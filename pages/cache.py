"""Remembered answers: which configurations remember, what that saved, and how sure other words mean the same."""

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import blocks, session, session_keys
from lib.ui.cache import detail, overview, rules_dialog

actor = session.require(Permission.VIEW_STATS)
services = session.services()
compact = blocks.compact()
may_edit = actor.can(Permission.EDIT_CONFIGS)
configurations = services.configurations.list(actor)
everything = services.cache.figures(actor, overview.DAYS)
selected = st.query_params.get("id") or (None if compact or not everything else everything[0].configuration_id)

with blocks.header("Cache"):
    if everything and st.button(
        "" if compact else "Forget", icon=":material/delete_sweep:", type="tertiary", help="Forget remembered answers"
    ):
        st.dialog("Forget remembered answers")(rules_dialog.show_purge)(
            services, actor, configurations, only_own=not may_edit
        )
    if st.button("Rules" if compact else "Set rules", icon=":material/tune:", type="primary", disabled=not may_edit):
        st.dialog("What a configuration remembers", width="medium")(rules_dialog.show_rules)(
            services, actor, configurations, selected
        )

if (notice := st.session_state.pop(session_keys.CACHE_NOTICE, None)) is not None:
    st.toast(notice)

if not everything:
    with blocks.empty_state(
        "cached", "Nothing is remembered", "Equal questions can be answered from memory: at once, and for nothing."
    ):
        if st.button("Set rules", icon=":material/tune:", disabled=not may_edit, key="first-cache"):
            st.dialog("What a configuration remembers", width="medium")(rules_dialog.show_rules)(
                services, actor, configurations, None
            )
    st.caption(
        "Each configuration remembers apart, and each person's answers are their own unless an administrator says so.",
        text_alignment="center",
    )
    st.stop()

overview.draw_figures(everything)
overview.draw_chart(services, actor)
table_column, panel_column = (st.container(), None) if compact else st.columns([1.9, 1], gap="small")
with table_column:
    picked = overview.draw_table(everything, selected, compact=compact)
if picked is not None and picked != selected:
    st.query_params["id"] = picked
current = next((figures for figures in everything if figures.configuration_id == (picked or selected)), None)
if current is not None:
    with panel_column.container(border=True) if panel_column is not None else st.container(border=True):
        detail.draw_detail(services, actor, current, services.preferences.report_zone(actor))
