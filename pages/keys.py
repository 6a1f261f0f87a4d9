"""API keys of programs, with scope and limits; and the limits of apps."""

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import blocks, session
from lib.ui.api_keys import key_forms, key_list, key_table

actor = session.require(Permission.TEST_CONFIGS)
services = session.ensure_services()
compact = blocks.is_compact()

with blocks.show_header("API keys"):
    ended = st.toggle("Ended too", key="ended", bind="query-params", help="Show revoked and expired keys")
    everything = services.api_keys.list(actor)
    if everything and st.button("New" if compact else "New key", icon=":material/add:", type="primary"):
        st.dialog("New API key", width="medium")(key_forms.create_dialog)(services, actor)

with blocks.show_errors():
    zone = services.preferences.report_zone(actor)
    if (new_key := key_forms.take_new_key()) is not None:
        key = next(key for key in everything if key.id == new_key["id"])
        st.dialog("API key ready", width="medium", dismissible=False)(key_forms.show_new_key)(
            services, actor, key, new_key["token"]
        )
    listed_keys = [key for key in everything if ended or key.state() not in ("revoked", "expired")]
    tab_keys, tab_apps = st.tabs(["Keys", "Limits of apps"], key="tab", on_change="rerun", bind="query-params")
    with tab_apps:
        key_table.show_app_limits(services, actor)
    with tab_keys:
        if not listed_keys:
            fact = "No API keys yet" if not everything else "No active API keys"
            sentence = "A key lets a program call models here, counted for one app and bound to a scope."
            with blocks.show_empty_state("vpn_key", fact, sentence):
                if everything:
                    st.caption("Turn on Ended too to see the others.", text_alignment="center")
                elif st.button("New key", icon=":material/add:", type="primary"):
                    st.dialog("New API key", width="medium")(key_forms.create_dialog)(services, actor)
            st.stop()
        key_list.show(services, actor, listed_keys, zone)
