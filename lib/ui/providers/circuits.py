"""Open circuits on the Providers page: what is left alone, why, until when, and a button to end it."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.clock import utc_now
from lib.errors import LLMManagerError
from lib.providers.circuits import Circuit
from lib.services import Services
from lib.ui import blocks, format, session_keys


def show_open_circuits(services: Services, actor: Actor, circuits: Sequence[Circuit], zone: ZoneInfo) -> None:
    """A line for each open circuit of one provider."""
    for circuit in circuits:
        until = (
            f"until {format.format_moment(circuit.open_until, zone)}"
            if circuit.is_shut(utc_now())
            else "but for a probe"
        )
        reason = blocks.escape_markdown(circuit.reason)
        with blocks.start_row():
            st.caption(
                f":orange[⊘ {blocks.escape_markdown(circuit.model)} is left alone {until}.] "
                f"{circuit.failures} failures in a row, the last: {reason}",
                width="stretch",
            )
            if st.button(
                "Close now",
                type="tertiary",
                key=f"close-{circuit.provider_id}-{circuit.model}",
                help="Close its circuit: let calls through again",
                disabled=not actor.can(Permission.MANAGE_PROVIDERS),
            ):
                try:
                    services.circuits.close(actor, circuit.provider_id, circuit.model)
                except LLMManagerError as error:
                    st.session_state[session_keys.PROVIDER_ERROR] = error
                st.rerun()
