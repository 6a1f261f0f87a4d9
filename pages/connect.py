"""How a program calls this installation: addresses, programs to copy, a call to try.

`?configuration=<name>&key=<its beginning>`.
"""

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import blocks, session
from lib.ui.api_keys import connect, key_forms

actor = session.require(Permission.TEST_CONFIGS)
services = session.ensure_services()
compact = blocks.is_compact()

configurations = [c for c in services.configurations.list(actor) if c.is_active and c.needs is None]
keys = connect.list_usable_keys(services, actor)
with blocks.show_header("Connect your app"):
    if keys and st.button("New key", icon=":material/add:"):
        st.dialog("New API key", width="medium")(key_forms.create_dialog)(services, actor)

with blocks.show_errors():
    if not configurations:
        with blocks.show_empty_state("tune", "No configuration is ready", "A configuration says which model answers."):
            st.page_link(session.page("configurations"), label="Open configurations", icon=":material/tune:")
        st.stop()
    if not keys:
        sentence = "A program calls models here with a key of its own, which says for which app it spends."
        with blocks.show_empty_state("vpn_key", "No API key yet", sentence):
            if st.button("New key", icon=":material/add:", type="primary"):
                st.dialog("New API key", width="medium")(key_forms.create_dialog)(services, actor)
        st.stop()
    left_column, right_column = st.columns(2)
    with left_column:
        model = connect.choose_model(configurations)
    with right_column:
        key = connect.choose_key(keys)
    main, side = (st.container(), st.container()) if compact else st.columns([2.2, 1], gap="medium")
    with main:
        connect.show_programs(key, model, configurations)
    with side.container(border=True):
        connect.try_it(services, actor, key, model)
