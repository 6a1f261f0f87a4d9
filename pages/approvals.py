"""What waits for a decision before it acts, what was decided, and what runs without a question."""

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import grammar, session
from lib.ui.approvals import request_table, standing_grants

actor = session.require(Permission.TEST_CONFIGS)
services = session.ensure_services()
zone = services.preferences.report_zone(actor)

with grammar.show_header("Approvals"):
    st.button("", icon=":material/refresh:", type="tertiary", help="Show what waits now")
opened, tab = grammar.show_tabs(["Waiting", "Decided", "Without a question"])
with tab, grammar.show_errors():
    match opened:
        case "Waiting":
            request_table.show_waiting(services, actor, zone)
        case "Decided":
            request_table.show_decided(services, actor, zone)
        case _:
            standing_grants.show_grants(services, actor, zone)
