"""The dialog of the webhook: where messages go, whether they arrive, a test."""

from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.budgets.webhook import SHORTEST_SECRET, WebhookState
from lib.errors import LLMManagerError
from lib.services import Services
from lib.ui import blocks, format
from lib.ui.configurations.configuration_form import show_in_form


def show_webhook(services: Services, actor: Actor) -> None:
    """The state, then the form that sets or replaces the address."""
    state = services.webhook.state(actor)
    st.markdown("Crossed thresholds and first refusals are sent as signed JSON to an address of yours.")
    if state is not None:
        _show_state(services, actor, state)
    spots: dict[str | None, Any] = {}
    with st.form("webhook", border=False, enter_to_submit=False):
        url = st.text_input("New address" if state else "Address", placeholder="https://hooks.example.com/budgets")
        spots["base_url"] = st.empty()
        label = f"Shared secret, {SHORTEST_SECRET} characters or more"
        secret = st.text_input(label, type="password", autocomplete="off")
        spots["secret"] = st.empty()
        private = st.checkbox("Allow private hosts", help="For a receiver on this machine or in your network.")
        st.caption(
            "The header X-LLM-Manager-Signature holds t=SECONDS,v1=HMAC-SHA256 of “SECONDS.BODY” under the secret."
        )
        spots[None] = st.container()
        sent = st.form_submit_button("Replace webhook" if state else "Set webhook", type="primary")
    if sent:
        try:
            services.webhook.set(actor, url=url, secret=secret, allow_private=private)
        except LLMManagerError as error:
            show_in_form(error, spots)
            return
        st.rerun()


def _show_state(services: Services, actor: Actor, state: WebhookState) -> None:
    zone = services.preferences.report_zone(actor)
    blocks.show_facts([("Host", f"`{state.host}`"), ("Last delivery", format.format_moment(state.delivered_at, zone))])
    if state.waiting or state.given_up:
        why = f" The newest error: {blocks.escape_markdown(state.error)}" if state.error else ""
        st.caption(f":orange[{state.waiting} waiting, {state.given_up} given up.]{why}")
    test_spot = st.empty()
    with blocks.start_row():
        if st.button("Send test message", icon=":material/send:"):
            with test_spot.container(), blocks.show_errors():
                error = services.webhook.test(actor)
                if error is None:
                    st.success("The receiver took it.")
                else:
                    st.error("It is tried again later.", title=blocks.escape_markdown(error), icon=":material/error:")
        with st.popover(":red[Remove webhook]"):
            st.markdown("Nobody is told any more, and what waits is dropped. The notices in the app stay.")
            if st.button(":red[Remove it]"):
                services.webhook.remove(actor)
                st.rerun()
