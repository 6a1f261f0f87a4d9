"""Files in and out of the page: what can be attached, imports of other programs' exports, an export of everything."""

from functools import partial

import streamlit as st

from lib.access.permissions import Actor
from lib.clock import utc_now
from lib.conversations.exports import ExportFormat
from lib.errors import LLMManagerError
from lib.services import Services
from lib.ui import blocks
from lib.ui.conversations.thread_view import AUTO_TITLE

TYPES = (
    "png",
    "jpg",
    "jpeg",
    "gif",
    "webp",
    "txt",
    "md",
    "csv",
    "json",
    "yaml",
    "xml",
    "html",
    "py",
    "js",
    "sql",
    "log",
)


def draw_exchange_menu(services: Services, actor: Actor) -> None:
    """Import, export of everything, and whether titles are found by a model."""
    with st.popover(
        "" if blocks.is_compact() else "Import, export", icon=":material/swap_vert:", type="tertiary", key="all-more"
    ):
        if st.button("Import", icon=":material/upload:", type="tertiary"):
            import_dialog(services, actor)
        st.download_button(
            "Export everything as JSON",
            data=partial(services.conversation_exchange.export, actor, None, ExportFormat.JSON),
            file_name=f"conversations-{utc_now():%Y-%m-%d}.json",
            mime="application/json",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
        )
        automatic = bool(services.preferences.get(actor, AUTO_TITLE, True))
        why = "A short call of its own to the conversation's model, in the log with its cost."
        if st.toggle("A model finds titles", automatic, help=why) != automatic:
            services.preferences.set(actor, AUTO_TITLE, not automatic)
            st.rerun()


@st.dialog("Import conversations")
def import_dialog(services: Services, actor: Actor) -> None:
    """Choose a file; what came of it."""
    st.caption("OpenAI's conversations.json, exports of Open WebUI and LibreChat, or this product's JSON.")
    upload = st.file_uploader("File", type=["json"], label_visibility="collapsed")
    if upload is None or not st.button("Import conversations", type="primary"):
        return
    try:
        report = services.conversation_exchange.import_file(actor, upload.getvalue())
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    st.success(f"{len(report.ids)} conversations with {report.messages} messages are here.")
    if report.already_imported:
        st.caption(f"{report.already_imported} were imported before and left alone.")
    if report.unreadable:
        st.caption(f"{report.unreadable} entries hold no messages that can be read.")
