"""One's own conversations: the list, a thread, the pinned input. The address names the conversation: `?id=<id>`."""

from functools import partial

import streamlit as st

from lib.access.permissions import Permission
from lib.clock import utc_now
from lib.conversations.conversation import Status
from lib.errors import LLMManagerError
from lib.ui import blocks, session
from lib.ui.conversations import (
    conversation_files,
    conversation_list,
    server_resources,
    thread_settings,
    thread_view,
)

actor = session.require(Permission.VIEW_CONVERSATIONS)
services = session.ensure_services()
compact = blocks.is_compact()
current = st.query_params.get("id")
zone = services.preferences.report_zone(actor)
last_seen = thread_view.read_last_drawn(
    current
)  # when the page was drawn last: what was written below it was written then

configurations = {c.id: c for c in services.configurations.list(actor) if c.is_active and c.needs is None}
thread = None
with blocks.show_header("Conversations"):
    if st.button("New conversation", icon=":material/add:", type="tertiary", disabled=current is None):
        for name in ("id", thread_view.FOUND):
            st.query_params.pop(name, None)
        st.rerun()
    conversation_files.draw_exchange_menu(services, actor)
session.show_pause(actor)
if not configurations:
    with blocks.show_empty_state("tune", "No configuration is ready", "A configuration says which model answers."):
        st.page_link(session.page("configurations"), label="Open configurations", icon=":material/tune:")
    st.stop()

side, main = (st.container(), st.container()) if compact else st.columns([1, 2.4], gap="medium")
if current is not None:
    with main, blocks.show_errors():
        thread = thread_view.read_thread(services, actor, current)
        thread_view.suggest_title(services, actor, thread)
with side:
    if compact and current is not None:
        with st.expander("All conversations", icon=":material/list:"):
            conversation_list.draw(services, actor, current, zone)
    else:
        conversation_list.draw(services, actor, current, zone)
with main:
    if current is None:
        configuration_id: str | None = thread_settings.choose_first_configuration(services, actor, configurations)
        sentence = "Every message goes with what was said before. Answers go on while you are away."
        with blocks.show_empty_state("forum", "Ask something", sentence, wide=True):
            st.caption("Only you can read your conversations.", width="content")
    elif thread is not None:
        draw_actions = partial(thread_view.draw_actions, services, actor, thread, last_seen)
        configuration_id = thread_settings.draw_header(services, actor, thread, configurations, draw_actions)
        server_resources.draw_attached(current)
        follows = thread_view.read_found(thread) is None
        with st.container(height="content" if compact else thread_view.HEIGHT, border=False, autoscroll=follows):
            thread_view.draw(services, actor, thread, zone)
    thread_view.draw_unsent(services, actor, current)

if current is None or thread is not None:
    closed = thread is not None and thread.conversation.status(utc_now()) is not Status.ACTIVE
    running = thread is not None and thread.running is not None
    message = st.chat_input(
        "This conversation is closed"
        if closed
        else f"Ask {configurations[configuration_id].slug if configuration_id else ''}".strip(),
        accept_file="multiple",
        file_type=list(conversation_files.TYPES),
        disabled=closed or running or configuration_id is None,
        key=thread_view.name_input(current),
    )
    if message and configuration_id is not None:
        attachments = [(file.name, file.getvalue()) for file in message.files]
        try:
            conversation = thread.conversation.id if thread else None
            attached = server_resources.take_attached(conversation)
            current = thread_view.ask(
                services, actor, conversation, configuration_id, message.text, attachments, last_seen, attached
            )
            st.query_params.clear()
            st.query_params["id"] = current
        except LLMManagerError as error:
            thread_view.keep_unsent(current, message.text, error)
        st.rerun()
