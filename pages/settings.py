"""What holds for the whole installation: how long things are kept, currency, imports of usage, the master key."""

import streamlit as st

from lib.access.permissions import Permission, Role
from lib.ui import blocks, currency, session, session_keys
from lib.ui.access import data_settings, usage_imports

actor = session.require(Permission.MANAGE_ENCRYPTION_KEYS)
services = session.ensure_services()

with blocks.show_header("Settings"):
    st.button("", icon=":material/refresh:", type="tertiary", help="Show what is there now")

with blocks.show_errors():
    zone = services.preferences.report_zone(actor)
    if actor.role is not Role.SUPER_ADMIN:
        data_settings.show_keys_tab(services, actor, zone)
        st.stop()
    tab_data, tab_currency, tab_import, tab_keys = st.tabs(
        ["Data", "Currency", "Import", "Keys"], key=session_keys.OPEN_TAB, on_change="rerun", bind="query-params"
    )
    with tab_data:
        data_settings.show_retention_tab(services, actor, zone)
    with tab_currency:
        currency.show_settings(services, actor)
    with tab_import:
        usage_imports.show_tab(services, actor, zone)
    with tab_keys:
        data_settings.show_keys_tab(services, actor, zone)
