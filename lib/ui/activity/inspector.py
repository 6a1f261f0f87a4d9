"""The request behind an answer: attempts, the messages sent, the response, effective parameters and their origin."""

from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.errors import LLMManagerError
from lib.services import Services
from lib.ui import blocks, session_keys
from lib.ui.activity import call_panel
from lib.ui.configurations import overrides


def request_inspection(call_id: str) -> None:
    """Ask for the dialog of a call: it opens once when the page is next drawn."""
    st.session_state[session_keys.INSPECTED_CALL] = call_id


def show_requested(services: Services, actor: Actor, zone: ZoneInfo) -> None:
    """Open the dialog of the call that was asked for, once."""
    if (call_id := st.session_state.pop(session_keys.INSPECTED_CALL, None)) is not None:
        inspect(services, actor, call_id, zone)


@st.dialog("Request", width="large")
def inspect(services: Services, actor: Actor, call_id: str, zone: ZoneInfo) -> None:
    """Everything the ledger has of a call, and where its parameters come from as things stand now."""
    services.calls.flush()
    call_panel.show_panel(services, actor, call_id, {}, zone)
    try:
        log = services.activity.detail(actor, call_id).log
        configuration = services.configurations.get(actor, str(log["configuration_id"]))
        effective_parameters = services.overrides.effective(actor, configuration, {}, app=log["app"])
    except LLMManagerError:
        st.caption("The configuration is gone: where its parameters came from is not known any more.")
        return
    with st.expander("Effective parameters and their origin", icon=":material/layers:"):
        st.caption(blocks.escape_markdown(f"As {configuration.slug} and its overrides stand now."))
        overrides.draw_effective_parameters(effective_parameters, configuration)
