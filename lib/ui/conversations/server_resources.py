"""Resources of servers as attachments: chosen in a dialog, kept beside the input until the next message goes."""

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.mcp.offerings import list_resources, read_files
from lib.services import Services
from lib.ui import blocks


def _build_key(conversation_id: str) -> str:
    return f"attached-{conversation_id}"


def take_attached(conversation_id: str | None) -> list[str]:
    """The ids of the files that wait for the next message, which takes them along."""
    waiting = st.session_state.pop(_build_key(conversation_id or ""), {})
    return list(waiting)


def draw_attached(conversation_id: str) -> None:
    """Draw what waits for the next message; a click leaves it out."""
    waiting: dict[str, str] = st.session_state.get(_build_key(conversation_id), {})
    if not waiting:
        return
    with blocks.start_row(gap="xsmall"):
        for file_id, name in list(waiting.items()):
            if st.button(
                blocks.escape_markdown(name), icon=":material/close:", help="Leave it out", key=f"detach-{file_id}"
            ):
                waiting.pop(file_id)
                st.rerun()


def draw_attach_button(services: Services, actor: Actor, conversation_id: str) -> None:
    """Draw the button that attaches a resource; absent where no server offers any."""
    if not actor.can(Permission.TEST_CONFIGS) or not list_resources(services.servers.offered(actor)):
        return
    if st.button("Attach from a server", icon=":material/attach_file_add:", type="tertiary"):
        st.dialog("Attach from a server", width="medium")(_attach_dialog)(services, actor, conversation_id)


def _attach_dialog(services: Services, actor: Actor, conversation_id: str) -> None:
    resources = list_resources(services.servers.offered(actor))
    labels = [f"{resource.server} · {resource.label}" for resource in resources]
    position = st.selectbox("Resource", range(len(resources)), format_func=labels.__getitem__)
    resource = resources[position]
    st.caption(blocks.escape_markdown(" · ".join(part for part in (resource.uri, resource.description) if part)[:500]))
    st.caption("It counts as a document from outside: tools that may change something ask first.")
    with blocks.show_errors():
        if st.button("Attach", type="primary", icon=":material/attach_file:"):
            files = read_files(services.servers.read_resource(actor, resource.server, resource.uri))
            stored = services.conversation_files.add(actor, conversation_id, files)
            waiting = st.session_state.setdefault(_build_key(conversation_id), {})
            waiting.update({file.id: file.name for file in stored})
            st.rerun()
