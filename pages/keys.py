"""API keys of programs, with scope and limits; and the limits of apps."""

import streamlit as st

from lib.access.permissions import Permission, Role
from lib.ui import blocks, session
from lib.ui.api_keys import key_forms, key_table

actor = session.require(Permission.TEST_CONFIGS)
services = session.services()
compact = blocks.compact()

with blocks.header("API keys"):
    ended = st.toggle("Ended too", key="ended", bind="query-params", help="Show revoked and expired keys")
    everything = services.api_keys.list(actor)
    if everything and st.button("New" if compact else "New key", icon=":material/add:", type="primary"):
        st.dialog("New API key", width="medium")(key_forms.create_dialog)(services, actor)

with blocks.errors_shown():
    zone = services.preferences.report_zone(actor)
    if (new_key := key_forms.take_new_key()) is not None:
        key = next(key for key in everything if key.id == new_key["id"])
        st.dialog("API key ready", width="medium", dismissible=False)(key_forms.show_new_key)(
            services, actor, key, new_key["token"]
        )
    listed_keys = [key for key in everything if ended or key.state() in ("active", "owner disabled")]
    tab_keys, tab_apps = st.tabs(["Keys", "Limits of apps"], key="tab", on_change="rerun", bind="query-params")
    with tab_apps:
        key_table.show_app_limits(services, actor)
    with tab_keys:
        if not listed_keys:
            fact = "No API keys yet" if not everything else "No active API keys"
            sentence = "A key lets a program call models here, counted for one app and bound to a scope."
            with blocks.empty_state("vpn_key", fact, sentence):
                if everything:
                    st.caption("Turn on Ended too to see the others.")
                elif st.button("New key", icon=":material/add:", type="primary"):
                    st.dialog("New API key", width="medium")(key_forms.create_dialog)(services, actor)
            st.stop()
        everybody = actor.role is Role.SUPER_ADMIN
        use = key_table.load_recent_use(services, actor)
        selected = key_table.show_table(listed_keys, use, zone, everybody=everybody, compact=compact)
        st.caption(f"{len(listed_keys)} {'key' if len(listed_keys) == 1 else 'keys'} · times in {zone.key}")
        with st.container(border=True):
            if selected is None:
                st.caption("Select a key to see its scope and limits, change or revoke it.")
            else:
                key_table.show_panel(services, actor, selected, zone)
