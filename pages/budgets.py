"""How much may be spent on what, and how much is: a card each, notices, and a question: would this call pass?"""

import streamlit as st

from lib.access.permissions import Permission
from lib.budgets.budget import BudgetScope
from lib.ui import blocks, session, session_keys
from lib.ui.budgets import budget_cards, budget_forms, webhook_dialog

actor = session.require(Permission.VIEW_STATS)
services = session.ensure_services()
compact = blocks.is_compact()
may_change = actor.can(Permission.MANAGE_PROVIDERS) or actor.rules_team

with blocks.show_header("Budgets"):
    if st.button(
        "" if compact else "Check a call",
        icon=":material/rule:",
        type="tertiary",
        help="Would a call pass the budgets, and why not",
        disabled=not actor.can(Permission.VIEW_CONFIGS),
    ):
        st.dialog("Would this call pass?")(budget_forms.check_dialog)(services, actor)
    if actor.can(Permission.MANAGE_PROVIDERS) and st.button(
        "" if compact else "Webhook", icon=":material/webhook:", type="tertiary", help="Tell another system"
    ):
        st.dialog("Webhook")(webhook_dialog.show_webhook)(services, actor)
    everything = services.budgets.list(actor)
    if everything and st.button(
        "New" if compact else "New budget", icon=":material/add:", type="primary", disabled=not may_change
    ):
        st.dialog("New budget")(budget_forms.add_dialog)(services, actor)

if (error := st.session_state.pop(session_keys.BUDGET_ERROR, None)) is not None:
    blocks.show_error(error)

zone = services.preferences.report_zone(actor)
budget_cards.show_beyond_holds(services, actor, zone)
if not everything:
    with blocks.show_empty_state(
        "account_balance_wallet", "No budgets yet", "A budget says how much an app, a person or everything may cost."
    ):
        if st.button("New budget", icon=":material/add:", type="primary", disabled=not may_change):
            st.dialog("New budget")(budget_forms.add_dialog)(services, actor)
    st.caption("A hard one stops calls that would pass its limit; a soft one only tells.", text_alignment="center")
    st.stop()

ALL = "All"
scopes = [scope for scope in BudgetScope if any(state.budget.scope is scope for state in everything)]
with blocks.start_row():
    chosen_scope = ALL
    if len(scopes) > 1:
        chosen_scope = st.segmented_control(
            "Scope",
            [ALL, *scopes],
            default=ALL,
            required=True,
            format_func=budget_cards.format_scope,
            label_visibility="collapsed",
            key="scope",
            bind="query-params",
        )
    shown_states = [state for state in everything if chosen_scope in (ALL, state.budget.scope)]
    st.caption(budget_cards.format_scope_line(shown_states, zone))

with st.grid(1 if compact else 2, min_column_width=340, gap="small"):
    for state in shown_states:
        budget_cards.show_card(services, actor, state, zone)
budget_cards.show_notices(services, actor, zone)
