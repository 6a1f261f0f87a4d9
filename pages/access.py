"""People, teams and what they may do, and who changed what."""

import streamlit as st

from lib.access.permissions import Role
from lib.ui import blocks, session, session_keys
from lib.ui.access import audit_log, people, teams_tab

actor = session.require_administrator()
services = session.ensure_services()
is_super_admin = actor.role is Role.SUPER_ADMIN

with blocks.show_header("Access"):
    if not is_super_admin:
        st.button("", icon=":material/refresh:", type="tertiary", help="Show what is there now")
    elif st.button("Add person", icon=":material/person_add:", type="primary"):
        people.add_dialog(services, actor)

with blocks.show_errors():
    zone = services.preferences.report_zone(actor)
    if not is_super_admin:
        tab_teams, tab_audit = st.tabs(
            ["Team", "Audit"], key=session_keys.OPEN_TAB, on_change="rerun", bind="query-params"
        )
        with tab_teams:
            teams_tab.show_tab(services, actor, zone, is_open=st.session_state.get(session_keys.OPEN_TAB) != "Audit")
        with tab_audit:
            audit_log.show_tab(services, actor, zone)
        st.stop()
    names = ["People", "Teams", "Roles", "Audit"]
    tab_people, tab_teams, tab_roles, tab_audit = st.tabs(
        names, key=session_keys.OPEN_TAB, on_change="rerun", bind="query-params"
    )
    with tab_people:
        people.show_people(services, actor, services.users.list(actor), zone)
    with tab_teams:
        teams_tab.show_tab(services, actor, zone, is_open=st.session_state.get(session_keys.OPEN_TAB) == "Teams")
    with tab_roles:
        people.show_roles()
    with tab_audit:
        audit_log.show_tab(services, actor, zone)
