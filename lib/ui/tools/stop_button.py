"""The switch that stops every tool of the installation, for super-admins; everybody sees that it is thrown."""

import streamlit as st

from lib.access.permissions import Actor
from lib.access.team_choices import StopKind
from lib.services import Services
from lib.ui import blocks


def draw_state(services: Services, actor: Actor) -> None:
    """Say that tools are stopped, and let a super-admin start them again."""
    services.stops.refresh()
    if (refusal := services.stops.find_tool_refusal(actor)) is None:
        return
    st.warning(
        blocks.escape_markdown(refusal.why), title=blocks.escape_markdown(refusal.title), icon=":material/front_hand:"
    )
    stopped = any(stop.kind is StopKind.TOOLS for stop in services.stops.list(actor))
    if stopped and actor.sees_every_team and st.button("Start tools again", icon=":material/play_arrow:"):
        with blocks.show_errors():
            services.stops.start(actor, StopKind.TOOLS)
            st.rerun()


def stop_dialog(services: Services, actor: Actor) -> None:
    """Ask before every tool stops."""
    st.text("Runs end within five seconds, and none begins until tools are started again. Models go on without them.")
    reason = st.text_input("Reason", max_chars=200)
    if st.button("Stop all tools", icon=":material/front_hand:"):
        with blocks.show_errors():
            services.stops.stop(actor, StopKind.TOOLS, reason=reason)
            st.rerun()
