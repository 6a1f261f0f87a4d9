"""People and what they may do: accounts, roles, and the table of permissions."""

import streamlit as st

from lib.ui import access, blocks, session

actor = session.require_super_admin()
services = session.services()

with blocks.header("Access"):
    if st.button("Add person", icon=":material/person_add:", type="primary"):
        access.add_dialog(services, actor)

with blocks.errors_shown():
    zone = services.preferences.report_zone(actor)
    people = services.users.list(actor)
    tab_people, tab_roles = st.tabs(["People", "Roles"])
    with tab_people:
        access.people_table(services, actor, people, zone)
    with tab_roles:
        access.roles_table()
