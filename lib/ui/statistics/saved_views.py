"""The saved views of the statistics: save the one in sight, open, pin, share and delete."""

from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.access.saved_views import SavedView
from lib.errors import LLMManagerError
from lib.services import Services
from lib.ui import blocks, session
from lib.ui.statistics.statistics_view import StatisticsView


def show_saved_views(services: Services, actor: Actor, view: StatisticsView) -> None:
    """Draw the form that saves a view, and a line for each saved view that the actor may open."""
    saved = services.saved_views.list(actor)
    with blocks.start_row():
        with st.popover("Save this view", icon=":material/bookmark_add:"), st.form("save-view", border=False):
            name = st.text_input("Name", placeholder="Cost of each app by month", max_chars=80)
            shared = st.checkbox("For everybody who may see statistics")
            pinned = st.checkbox("On the dashboard", help="Yours; a shared one stands on everybody's")
            if st.form_submit_button("Save view"):
                try:
                    services.saved_views.save(actor, name, view.to_query(), shared=shared, pinned=pinned)
                except LLMManagerError as error:
                    blocks.show_error(error)
                else:
                    st.rerun()
        if not saved:
            st.caption("No views are saved yet. A view keeps period, filters and shape; its figures are always fresh.")
    for saved_view in saved:
        _show_view(services, actor, saved_view)


def _show_view(services: Services, actor: Actor, saved_view: SavedView) -> None:
    is_own = saved_view.user_id == actor.user_id
    with blocks.start_row():
        page: Any = {"icon": ":material/bookmark:", "query_params": dict(saved_view.query)}
        st.page_link(session.page("statistics"), label=blocks.escape_markdown(saved_view.name), **page)
        about = [*(["shared"] if saved_view.is_shared else []), *(["on the dashboard"] if saved_view.is_pinned else [])]
        about += [] if is_own else [f"by {saved_view.owner}"]
        st.caption(blocks.escape_markdown(" · ".join(about)), width="stretch")
        if not is_own:
            return
        pin = "Take off the dashboard" if saved_view.is_pinned else "Put on the dashboard"
        if st.button("", icon=":material/keep:", help=pin, type="tertiary", key=f"pin-{saved_view.id}"):
            services.saved_views.change(
                actor, saved_view.id, shared=saved_view.is_shared, pinned=not saved_view.is_pinned
            )
            st.rerun()
        share = "Keep to yourself" if saved_view.is_shared else "Share with everybody who may see statistics"
        if st.button("", icon=":material/group:", help=share, type="tertiary", key=f"share-{saved_view.id}"):
            services.saved_views.change(
                actor, saved_view.id, shared=not saved_view.is_shared, pinned=saved_view.is_pinned
            )
            st.rerun()
        if st.button(
            "", icon=":material/delete:", help="Delete the view", type="tertiary", key=f"delete-{saved_view.id}"
        ):
            services.saved_views.delete(actor, saved_view.id)
            st.toast(f"The view “{saved_view.name}” is deleted.")
            st.rerun()
