"""Every model call, newest first. The address carries the filters and, as `?id=`, the call that is open."""

from functools import partial

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import blocks, grammar, session
from lib.ui import names as ids
from lib.ui.activity import call_filters, call_panel, call_table

actor = session.require(Permission.TEST_CONFIGS)
services = session.ensure_services()
zone = services.preferences.report_zone(actor)
criteria = call_filters.read_criteria(zone)
number = st.query_params.get("page", "1")
selected = grammar.get_opened()

page = services.activity.page(actor, criteria, int(number) if number.isdecimal() and len(number) < 9 else 1)
empty = not page.rows and services.activity.is_empty(actor)

with blocks.show_header("Activity"):
    st.button("", icon=":material/refresh:", type="tertiary", help="Show the newest calls")
    call_table.show_export_menu(services, actor, criteria, disabled=page.calls == 0)

if empty and selected is None:
    with blocks.show_empty_state(
        "receipt_long",
        "No calls yet",
        "Every model call your team makes shows up here with its cost, speed and result.",
    ):
        st.page_link(session.page("playground"), label="Open the playground", icon=":material/play_circle:")
    st.stop()

options = services.activity.options(actor)
names = call_panel.collect_user_names(options)
call_filters.show_filter_bar(criteria, options, names, zone)
display_names = {**names}
if criteria.configurations or criteria.api_keys:
    display_names |= (
        ids.name_configurations(services, actor) | ids.name_api_keys(services, actor) | ids.name_teams(services, actor)
    )
call_filters.show_scope_line(criteria, zone, display_names, own_only=not actor.sees_all_calls)

rows = partial(call_table.show_rows, page, criteria, names, zone, selected)
detail = None
if selected is not None:
    panel = partial(call_panel.show_panel, services, actor, selected, names, zone)
    detail = grammar.Detail(f"Call {grammar.escape_markdown(grammar.shorten_id(selected))}", panel)
grammar.show_beside(rows, detail)
