"""The saved views of the statistics: save the one in sight, open, pin, share and delete."""

from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.access.saved_views import SavedView
from lib.errors import LLMManagerError
from lib.services import Services
from lib.ui import blocks, session
from lib.ui.statistics.statistics_view import StatisticsView


def listed(services: Services, actor: Actor, view: StatisticsView) -> None:
    """Those the actor may open, under a form that saves another."""
    saved = services.saved_views.list(actor)
    with blocks.row():
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
    for one in saved:
        _line(services, actor, one)


def _line(services: Services, actor: Actor, one: SavedView) -> None:
    mine = one.user_id == actor.user_id
    with blocks.row():
        page: Any = {"icon": ":material/bookmark:", "query_params": dict(one.query)}
        st.page_link(session.page("statistics"), label=blocks.plain(one.name), **page)
        about = [*(["shared"] if one.is_shared else []), *(["on the dashboard"] if one.is_pinned else [])]
        about += [] if mine else [f"by {one.owner}"]
        st.caption(blocks.plain(" · ".join(about)), width="stretch")
        if not mine:
            return
        pin = "Take off the dashboard" if one.is_pinned else "Put on the dashboard"
        if st.button("", icon=":material/keep:", help=pin, type="tertiary", key=f"pin-{one.id}"):
            services.saved_views.change(actor, one.id, shared=one.is_shared, pinned=not one.is_pinned)
            st.rerun()
        share = "Keep to yourself" if one.is_shared else "Share with everybody who may see statistics"
        if st.button("", icon=":material/group:", help=share, type="tertiary", key=f"share-{one.id}"):
            services.saved_views.change(actor, one.id, shared=not one.is_shared, pinned=one.is_pinned)
            st.rerun()
        if st.button("", icon=":material/delete:", help="Delete the view", type="tertiary", key=f"delete-{one.id}"):
            services.saved_views.delete(actor, one.id)
            st.toast(f"The view “{one.name}” is deleted.")
            st.rerun()
