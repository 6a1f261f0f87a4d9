"""The dialog that imports tools from a file."""

import streamlit as st

from lib.access.permissions import Actor
from lib.errors import LLMManagerError
from lib.services import Services
from lib.ui import blocks


def import_dialog(services: Services, actor: Actor) -> None:
    """Take an export: HTTP tools and settings; names that exist stay as they are."""
    st.caption("A file made by Export. It holds no secrets: enter the secret headers of HTTP tools again afterwards.")
    file = st.file_uploader("File", type="json", label_visibility="collapsed")
    if file is None or not st.button("Import tools", icon=":material/upload:"):
        return
    try:
        imported = services.tool_exchange.import_json(actor, file.getvalue())
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    st.success(f"{len(imported.created)} tools are new, {len(imported.configured)} have their settings.")
    if imported.skipped:
        st.caption(blocks.escape_markdown(f"There already: {', '.join(imported.skipped)}."))
    if imported.without_secrets:
        st.caption(blocks.escape_markdown(f"Secret headers are missing: {', '.join(imported.without_secrets)}."))
