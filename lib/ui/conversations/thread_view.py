"""The thread: messages with branches and figures, the answer while it grows, what could not be sent.

Only the last messages are drawn, older ones on demand. While an answer grows its own fragment is redrawn and nothing
else, so a token costs the page the same however long the conversation is.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.clock import utc_now
from lib.conversations.context import Selection, Summary
from lib.conversations.conversation import Message, Status
from lib.conversations.talk import SHOWN
from lib.conversations.thread import Thread
from lib.errors import LLMManagerError
from lib.services import Services
from lib.ui import blocks, session_keys
from lib.ui.activity import inspector
from lib.ui.conversations import found_mark, message_view, server_resources, thread_settings, workflow_answers
from lib.ui.playground import answer_pane
from lib.ui.tools import tool_cards

REDRAW_S = 0.3
TITLE_S = 2.0
TITLE_WAIT = timedelta(minutes=2)
HEIGHT = 560  # beside the list; with the page's title and the input it fills 900 pixels
FOUND = "message"  # of the address: a message that a search led to
AUTO_TITLE = "conversations.auto_title"


def count_drawn(conversation_id: str) -> int:
    """How many messages are drawn."""
    return int(st.session_state.get(f"shown-{conversation_id}", SHOWN))


def read_found(thread: Thread | None) -> str | None:
    """The message that the search led to, when the branch shown holds it."""
    message_id = st.query_params.get(FOUND)
    in_branch = thread is not None and any(node.id == message_id for node in thread.path)
    return message_id if in_branch else None


def read_thread(services: Services, actor: Actor, conversation_id: str) -> Thread:
    """The thread with the messages that are drawn; when the search led to an older one, back to two before it."""
    thread = services.talk.read(actor, conversation_id, count_drawn(conversation_id))
    if (found_id := read_found(thread)) is None or any(message.id == found_id for message in thread.messages):
        return thread
    position = [node.id for node in thread.path].index(found_id)
    st.session_state[f"shown-{conversation_id}"] = len(thread.path) - max(0, position - 2)
    return services.talk.read(actor, conversation_id, count_drawn(conversation_id))


def read_last_drawn(conversation_id: str | None) -> str | None:
    """The last message that was drawn; None where nothing was."""
    message_id = st.session_state.get(f"seen-{conversation_id}")
    return message_id if isinstance(message_id, str) else None


def name_input(conversation_id: str | None) -> str:
    """The key of the input below a conversation: the one it began in keeps being its own.

    Whoever goes on typing while the conversation appears types into the same box.
    """
    if conversation_id is None:
        return f"ask-new-{st.session_state.get('begun', 0)}"
    return str(st.session_state.get(f"box-{conversation_id}", f"ask-{conversation_id}"))


def suggest_title(services: Services, actor: Actor, thread: Thread) -> None:
    """After the first answer ask for a title; while it is on its way look for it."""
    conversation = thread.conversation
    is_old = conversation.last_at < utc_now() - TITLE_WAIT
    if conversation.title_source != "question" or thread.running or is_old:
        return
    if conversation.title_call_id is None:
        if not services.preferences.get(actor, AUTO_TITLE, True):
            return
        if services.titles.suggest(actor, conversation.id) is None:
            return

    @st.fragment(run_every=TITLE_S)
    def waiting() -> None:
        if services.talk.read(actor, conversation.id, 1).conversation.title_source != "question":
            blocks.redraw_page()

    waiting()


def ask(
    services: Services,
    actor: Actor,
    conversation_id: str | None,
    configuration: str,
    text: str,
    attachments: Sequence[tuple[str, bytes]] = (),
    last_seen: str | None = None,
    attached: Sequence[str] = (),
) -> str:
    """Send a message, in a new conversation where there is none; the conversation's id.

    `attachments` are files to be stored now, `attached` ids of files that were stored before.
    """
    created = None
    if conversation_id is None:
        created = services.conversations.create(actor, configuration=configuration)
        conversation_id = created.id
    try:
        stored_files = services.conversation_files.add(actor, conversation_id, attachments) if attachments else []
        files = [*attached, *(file.id for file in stored_files)]
        services.talk.send(actor, conversation_id, text, last_seen=last_seen, files=files, configuration=configuration)
    except LLMManagerError:
        if created is not None:
            services.conversations.delete(actor, created.id)
        raise
    if created is not None:
        st.session_state[f"box-{created.id}"] = name_input(None)
        st.session_state[session_keys.TURNS_BEGUN] = st.session_state.get(session_keys.TURNS_BEGUN, 0) + 1
    return conversation_id


def keep_unsent(conversation_id: str | None, text: str, error: LLMManagerError) -> None:
    """Keep a message that could not be sent on the page, with the reason."""
    st.session_state[session_keys.UNSENT_MESSAGE] = (conversation_id, text, error)


def draw_unsent(services: Services, actor: Actor, conversation_id: str | None) -> None:
    """The message that could not be sent, to be corrected and sent again."""
    draft = st.session_state.get(session_keys.UNSENT_MESSAGE)
    if draft is None or draft[0] != conversation_id:
        return
    _, text, error = draft
    with st.container(border=True):
        blocks.show_error(error)
        words = st.text_area("Your message", text, key="unsent-text")
        with blocks.start_row():
            if st.button("Send again", icon=":material/send:"):
                del st.session_state[session_keys.UNSENT_MESSAGE]
                configuration = thread_settings.read_configuration_choice(conversation_id)
                try:
                    if configuration is not None:
                        st.query_params["id"] = ask(
                            services,
                            actor,
                            conversation_id,
                            configuration,
                            words,
                            last_seen=read_last_drawn(conversation_id),
                        )
                except LLMManagerError as again:
                    keep_unsent(conversation_id, words, again)
                st.rerun()
            if st.button("Discard", type="tertiary"):
                del st.session_state[session_keys.UNSENT_MESSAGE]
                st.rerun()


def draw_actions(services: Services, actor: Actor, thread: Thread, last_seen: str | None) -> None:
    """Draw the buttons by which a message comes from elsewhere: a workflow's run, a resource of a server."""
    if thread.running is None and thread.conversation.status(utc_now()) is Status.ACTIVE:
        workflow_answers.draw_start_button(services, actor, thread.conversation.id, last_seen)
        server_resources.draw_attach_button(services, actor, thread.conversation.id)


def draw(services: Services, actor: Actor, thread: Thread, zone: ZoneInfo) -> None:
    """The messages of the branch shown."""
    conversation = thread.conversation
    st.session_state[f"seen-{conversation.id}"] = conversation.leaf_id or ""
    if thread.older and st.button(f"Show {min(SHOWN, thread.older)} older of {thread.older}", type="tertiary"):
        st.session_state[f"shown-{conversation.id}"] = count_drawn(conversation.id) + SHOWN
        st.rerun()
    selection = thread_settings.read_selection(services, actor, thread)
    ratings = services.ratings.read(actor, conversation.id)
    found_id = read_found(thread)
    hits = [message.call_id for message in thread.messages if message.is_remembered and message.call_id is not None]
    ages = services.cache.find_answer_ages(actor, hits) if hits else {}
    for message in thread.messages:
        if message.id == found_id:
            found_mark.draw_found_mark(st.session_state.get(session_keys.FOUND_MESSAGES, 0))
        if message.running and workflow_answers.is_workflow_answer(message):
            workflow_answers.draw_growing(services, actor, thread, message)
        elif message.running:
            _draw_growing_answer(services, actor, thread, message)
        else:
            actions = _ThreadActions(services, actor, thread)
            rating = ratings.get(message.id)
            age_s = ages.get(message.call_id or "")
            message_view.draw(services, actor, message, actions, zone, selection, is_good=rating, age_s=age_s)
        if (summary := thread.summaries.get(message.id)) is not None:
            _draw_summary_marker(services, actor, thread, summary, selection)
    inspector.show_requested(services, actor, zone)


class _ThreadActions(message_view.MessageActions):
    """What a message's buttons do."""

    def __init__(self, services: Services, actor: Actor, thread: Thread) -> None:
        self._services = services
        self._actor = actor
        self._conversation = thread.conversation

    def edit(self, message: Message, text: str) -> None:
        talk = self._services.talk
        configuration = thread_settings.read_configuration_choice(self._conversation.id)
        self._do(
            partial(talk.edit, message_id=message.id, text=text, last_seen=self._seen, configuration=configuration)
        )

    def regenerate(self, message: Message) -> None:
        talk = self._services.talk
        configuration = thread_settings.read_configuration_choice(self._conversation.id)
        self._do(partial(talk.regenerate, message_id=message.id, last_seen=self._seen, configuration=configuration))

    def choose(self, message_id: str) -> None:
        self._do(partial(self._services.talk.choose, message_id=message_id))

    def rate(self, message: Message, is_good: bool) -> None:
        with blocks.show_errors():
            self._services.ratings.rate(self._actor, self._conversation.id, message.id, is_good=is_good)

    @property
    def _seen(self) -> str:
        return self._conversation.leaf_id or ""

    def _do(self, deed: Callable[..., object]) -> None:
        st.query_params.pop(FOUND, None)
        try:
            deed(self._actor, self._conversation.id)
        except LLMManagerError as error:
            st.session_state[session_keys.CONVERSATION_ERROR] = error


def _draw_growing_answer(services: Services, actor: Actor, thread: Thread, message: Message) -> None:
    """The answer that is being written; the page is drawn once more when it ends."""

    @st.fragment(run_every=REDRAW_S)
    def growing() -> None:
        view = services.talk.answering(actor, message)
        if view is None or not view.running:
            if services.talk.read(actor, thread.conversation.id, 1).running is None:
                blocks.redraw_page()
            st.caption("The answer is being written down.")
            return
        if view.reasoning:
            with st.expander("Reasoning", icon=":material/psychology:"):
                st.text(view.reasoning)
        turn = services.talk.turn(actor, message)
        steps = tool_cards.make_steps(services, actor, turn, message.id)
        text = view.text if steps is None else steps()
        if text:
            st.markdown(blocks.sanitise_markdown(answer_pane.format_growing_answer(text)))
        elif steps is None:
            st.skeleton(height=48)
        with blocks.start_row(gap="xsmall"):
            if turn is not None and turn.is_waiting:
                st.badge("Waits for you", icon=":material/pending:", color="blue")
            else:
                st.badge("Streaming", icon=":material/graphic_eq:", color="blue")
            if st.button("Stop", icon=":material/stop_circle:", key="stop-answer"):
                services.talk.stop(actor, thread.conversation.id)
            st.caption(blocks.escape_markdown(f"{view.provider} · {view.served_model or view.model}"), width="content")

    with st.chat_message("assistant", avatar=":material/smart_toy:"):
        growing()


def _draw_summary_marker(
    services: Services, actor: Actor, thread: Thread, summary: Summary, selection: Selection | None
) -> None:
    """Where a summary takes over: it opens, and can be taken away."""
    replaced = [node.id for node in thread.path].index(summary.until_id) + 1
    in_force = selection is not None and selection.summary is not None and selection.summary.id == summary.id
    label = f"Summary instead of the {replaced} messages above" if summary.text else f"{replaced} messages left out"
    with st.expander(label + ("" if in_force else " (a later one is in force)"), icon=":material/compress:"):
        if summary.text:
            st.markdown(blocks.sanitise_markdown(summary.text))
        else:
            blocks.show_failure(summary.error_message or "The summary failed.")
            st.caption("The oldest messages are not sent. They stand above, and nothing of them is lost.")
        if st.button("Undo", icon=":material/undo:", key=f"undo-{summary.id}"):
            with blocks.show_errors():
                services.contexts.undo(actor, thread.conversation.id, summary.id)
            st.rerun()
