"""The list of conversations: search, folders and tags, pinned first; each opens by its address."""

from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.clock import utc_now
from lib.conversations.conversation import Conversation, Status
from lib.conversations.conversations import ConversationQuery
from lib.services import Services
from lib.ui import blocks, format, session_keys
from lib.ui.conversations.thread_view import FOUND

_LONGEST = 34


def draw(services: Services, actor: Actor, current: str | None, zone: ZoneInfo) -> None:
    """Search hits while something is searched for, otherwise the list."""
    words = st.text_input(
        "Search",
        key="conversation-search",
        placeholder="Search what was said",
        icon=":material/search:",
        label_visibility="collapsed",
    )
    if words:
        _draw_hits(services, actor, words, zone)
        return
    criteria = _draw_filters(services, actor)
    page = st.session_state.get(session_keys.CONVERSATIONS_PAGE, 1)
    conversations, has_older = services.conversations.list(actor, criteria, page)
    if not conversations:
        st.caption(
            "Nothing here."
            if criteria != ConversationQuery()
            else "Your conversations will stand here, the newest first."
        )
    for conversation in conversations:
        _draw_line(conversation, current, zone)
    if page > 1 or has_older:
        with blocks.start_row():
            for label, icon, step, possible in (
                ("Newer", "chevron_left", -1, page > 1),
                ("Older", "chevron_right", 1, has_older),
            ):
                if st.button(label, type="tertiary", icon=f":material/{icon}:", disabled=not possible):
                    st.session_state[session_keys.CONVERSATIONS_PAGE] = page + step
                    st.rerun()


def _draw_filters(services: Services, actor: Actor) -> ConversationQuery:
    folders = services.conversations.folders(actor)
    tags = services.conversations.tags(actor)
    selections = [st.session_state.get(f"list-{name}") for name in ("folder", "tag", "status", "archive")]
    count = sum(1 for selection in selections if selection)
    with st.popover(f"Filter · {count}" if count else "Filter · all", icon=":material/filter_list:", type="tertiary"):
        folder = st.selectbox("Folder", folders, index=None, placeholder="Any", key="list-folder")
        tag = st.selectbox("Tag", tags, index=None, placeholder="Any", key="list-tag")
        status = st.selectbox(
            "State", [str(state) for state in Status], index=None, placeholder="Any", key="list-status"
        )
        archived = st.toggle("Archive", key="list-archive")
    return ConversationQuery(Status(status) if status else None, folder, tag, archived)


def _draw_line(conversation: Conversation, current: str | None, zone: ZoneInfo) -> None:
    if conversation.id == current:
        icon = ":material/radio_button_checked:"
    else:
        icon = ":material/keep:" if conversation.is_pinned else ":material/chat_bubble:"
    with st.container(gap=None):
        if st.button(shorten(conversation.name), key=f"open-{conversation.id}", type="tertiary", icon=icon):
            open_conversation(conversation.id)
        about = [format.format_moment(conversation.last_at, zone).rpartition(":")[0], conversation.folder]
        status = conversation.status(utc_now())
        about += [*conversation.tags] + ([] if status is Status.ACTIVE else [str(status)])
        st.caption(blocks.escape_markdown(" · ".join(part for part in about if part)))


def _draw_hits(services: Services, actor: Actor, words: str, zone: ZoneInfo) -> None:
    hits = services.conversation_search.messages(actor, words)
    if not hits:
        st.caption("Nothing of yours has all these words. Of the last word its beginning is enough.")
    for hit in hits:
        with st.container(gap=None):
            label = shorten(hit.title or "New conversation")
            if st.button(label, key=f"hit-{hit.message_id}", type="tertiary", icon=":material/search:"):
                services.talk.choose(actor, hit.conversation_id, hit.message_id)
                st.session_state[session_keys.FOUND_MESSAGES] = st.session_state.get(session_keys.FOUND_MESSAGES, 0) + 1
                open_conversation(hit.conversation_id, message_id=hit.message_id)
            st.caption(
                blocks.escape_markdown(f"{hit.role} · {format.format_moment(hit.created_at, zone).rpartition(':')[0]}")
            )
            st.caption(blocks.mark_words(hit.excerpt, words))


def open_conversation(conversation_id: str, *, message_id: str | None = None) -> None:
    """Put a conversation into the address, and the message that a search has found; draw the page again."""
    st.query_params["id"] = conversation_id
    if message_id is None:
        st.query_params.pop(FOUND, None)
    else:
        st.query_params[FOUND] = message_id
    st.rerun()


def shorten(text: str) -> str:
    """A name as a label: one line, no Markdown."""
    return blocks.escape_markdown(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")
