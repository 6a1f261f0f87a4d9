"""Remembered answers: which configurations remember, what that saved, and how sure other words mean the same."""

from functools import partial

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import blocks, grammar, session, session_keys
from lib.ui.cache import detail, overview, rules_dialog

actor = session.require(Permission.VIEW_STATS)
services = session.ensure_services()
compact = blocks.is_compact()
may_edit = actor.can(Permission.EDIT_CONFIGS)
configurations = services.configurations.list(actor)
everything = services.cache.figures(actor, overview.DAYS)
selected = grammar.get_opened()

with blocks.show_header("Cache"):
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
    with blocks.show_empty_state(
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
current = next((figures for figures in everything if figures.configuration_id == selected), None)
opened = None
if current is not None:
    zone = services.preferences.report_zone(actor)
    draw_detail = partial(detail.draw_detail, services, actor, current, zone)
    opened = grammar.Detail(grammar.escape_markdown(current.slug), draw_detail)
draw_rows = partial(overview.draw_table, everything, is_narrow=compact or selected is not None)
grammar.show_beside(draw_rows, opened)
