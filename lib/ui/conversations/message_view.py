"""One message: words, files, state, figures, the switch between branches, and its buttons.

Words of people are text; words of models are Markdown that loads nothing.
"""

from functools import partial
from typing import Protocol
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.conversations.context import Selection
from lib.conversations.conversation import Message
from lib.errors import LLMManagerError
from lib.knowledge.quoting import QuotedSource
from lib.money import format_cost
from lib.services import Services
from lib.ui import blocks, copy_button, format, session_keys
from lib.ui.activity import inspector
from lib.ui.cache import remembered_answers
from lib.ui.conversations import workflow_answers
from lib.ui.knowledge import citations
from lib.ui.tools import tool_cards

_AVATARS = {"user": "person", "assistant": "smart_toy", "tool": "build", "system": "settings"}


class MessageActions(Protocol):
    """The actions that the buttons of a message call."""

    def edit(self, message: Message, text: str) -> None:
        """Ask in other words."""
        ...

    def regenerate(self, message: Message) -> None:
        """Answer once more."""
        ...

    def choose(self, message_id: str) -> None:
        """Go to the branch of a message."""
        ...

    def rate(self, message: Message, is_good: bool) -> None:
        """Say whether an answer is good."""
        ...


def draw(
    services: Services,
    actor: Actor,
    message: Message,
    actions: MessageActions,
    zone: ZoneInfo,
    selection: Selection | None,
    *,
    is_good: bool | None = None,
    age_s: int | None = None,
) -> None:
    """A message that is whole; `is_good` is how its reader rated it, None without a rating.

    `age_s` is how many seconds old an answer from memory was; None where that is not known.
    """
    with st.chat_message(message.role, avatar=f":material/{_AVATARS.get(message.role, 'chat_bubble')}:"):
        if st.session_state.get(session_keys.EDITED_MESSAGE) == message.id:
            _draw_editor(message, actions)
            return
        _draw_words(services, actor, message)
        with blocks.start_row(gap="xsmall"):
            _draw_branches(message, actions)
            _draw_buttons(message, actions, is_good)
            if workflow_answers.is_workflow_answer(message):
                workflow_answers.draw_link(message)
            if about := _describe_message(message, zone, age_s):
                st.caption(about, width="content")
            if selection is not None and message.id not in selection.ids and message.tokens:
                st.badge("not sent", icon=":material/visibility_off:", color="gray", help=_OUTSIDE)


_OUTSIDE = "Outside of what goes to the model with the next message: see Context above."


def _draw_words(services: Services, actor: Actor, message: Message) -> None:
    _draw_attachments(services, actor, message)
    if any("round" in part for part in message.parts):
        _draw_rounds(services, actor, message)
    if message.role == "user":
        st.text(message.content)
    elif message.content:
        _answer(message)
    _draw_unrun_tool_calls(message)
    if message.status not in ("ok", "running"):
        if message.error_message:
            blocks.show_failure(message.error_message)
        st.badge(format.STATUS_GLYPHS[message.status], color=format.STATUS_COLOURS[message.status])  # type: ignore[arg-type]


def _draw_attachments(services: Services, actor: Actor, message: Message) -> None:
    """Draw a message's files and reasoning, above its text."""
    for part in message.parts:
        if part["type"] == "file":
            _draw_file(services, actor, str(part["id"]), str(part["name"]), str(part["media_type"]))
        elif part["type"] == "reasoning":
            with st.expander("Reasoning", icon=":material/psychology:"):
                st.text(part["text"])


def _draw_unrun_tool_calls(message: Message) -> None:
    """Draw the calls of tools that a program, not this server, was to run."""
    for part in message.parts:
        if part["type"] == "tool_call" and "round" not in part:
            st.caption(blocks.escape_markdown(f"Asked for {part['name']}"))
            st.code(str(part["arguments"])[:20_000], language="json", wrap_lines=True)


def _draw_rounds(services: Services, actor: Actor, message: Message) -> None:
    """Draw what the model asked of tools before its answer, and what they returned."""
    turn = services.talk.turn(actor, message)
    if turn is not None and turn.steps:
        tool_cards.draw_turn(services, actor, turn, message.id)
    else:
        st.caption("Its tools were run too long ago: their rows are not kept any more.")


def _answer(message: Message) -> None:
    """A model's words; where they had sources, with their citations checked and the passages to open."""
    sources = []
    for part in message.parts:
        if part["type"] == "source":
            page = f", page {part['page_first']}" if part.get("page_first") else ""
            sources.append(QuotedSource(int(part["n"]), f"{part['title']}{page}", str(part["text"])))
    citations.draw_answer(message.content, sources)


def _draw_file(services: Services, actor: Actor, file_id: str, name: str, media_type: str) -> None:
    if not media_type.startswith("image/"):
        st.badge(blocks.escape_markdown(name), icon=":material/attach_file:", color="gray")
        return
    try:
        st.image(services.conversation_files.get(actor, file_id).data, caption=blocks.escape_markdown(name), width=220)
    except LLMManagerError as error:
        blocks.show_error(error)


def _draw_editor(message: Message, actions: MessageActions) -> None:
    text = st.text_area("Your message", message.content, key=f"edit-{message.id}", label_visibility="collapsed")
    with blocks.start_row():
        if st.button("Send as a new branch", icon=":material/send:"):
            st.session_state.pop(session_keys.EDITED_MESSAGE)
            actions.edit(message, text)
            st.rerun()
        if st.button("Keep as it is", type="tertiary"):
            st.session_state.pop(session_keys.EDITED_MESSAGE)
            st.rerun()


def _draw_branches(message: Message, actions: MessageActions) -> None:
    """`‹ 2 / 3 ›` where there are others beside this one."""
    if len(message.siblings) < 2:
        return
    index = message.siblings.index(message.id)
    for step, icon, name in ((-1, "chevron_left", "Branch before"), (1, "chevron_right", "Branch after")):
        if step == 1:
            st.caption(f"{index + 1} / {len(message.siblings)}", width="content")
        target = index + step
        st.button(
            "",
            icon=f":material/{icon}:",
            type="tertiary",
            help=name,
            key=f"{icon}-{message.id}",
            disabled=not 0 <= target < len(message.siblings),
            on_click=partial(actions.choose, message.siblings[target]) if 0 <= target < len(message.siblings) else None,
        )


def _draw_buttons(message: Message, actions: MessageActions, is_good: bool | None) -> None:
    if message.role == "user":
        st.button(
            "",
            icon=":material/edit:",
            type="tertiary",
            help="Edit: a new branch",
            key=f"edit-button-{message.id}",
            on_click=partial(_start_editing, message.id),
        )
    elif message.role == "assistant" and message.parent_id is not None:
        st.button(
            remembered_answers.ASK_AGAIN if message.is_remembered else "",
            icon=":material/refresh:",
            type="tertiary",
            help="Answer again: a new branch",
            key=f"again-{message.id}",
            on_click=partial(actions.regenerate, message),
        )
    if message.role == "assistant" and message.content:
        copy_button.draw_copy_button(message.content, key=f"copy-{message.id}", help="Copy the answer")
    if message.call_id is not None:
        if message.role == "assistant" and message.content:
            _draw_thumbs(message, actions, is_good)
        st.button(
            "",
            icon=":material/data_object:",
            type="tertiary",
            help="Inspect the request",
            key=f"inspect-{message.id}",
            on_click=partial(inspector.request_inspection, message.call_id),
        )


def _draw_thumbs(message: Message, actions: MessageActions, is_good: bool | None) -> None:
    """Thumbs up or down; what is said last counts."""
    thumbs = st.feedback("thumbs", key=f"rating-{message.id}", default=None if is_good is None else int(is_good))
    if thumbs is not None and bool(thumbs) != is_good:
        actions.rate(message, bool(thumbs))


def _start_editing(message_id: str) -> None:
    st.session_state[session_keys.EDITED_MESSAGE] = message_id


def _describe_message(message: Message, zone: ZoneInfo, age_s: int | None) -> str:
    """Model, tokens, cost, where an answer came from; of a question when it was asked."""
    parts = [format.format_moment(message.created_at, zone).rpartition(":")[0]]
    if message.role == "assistant":
        parts = [message.model] if message.model else []
        if message.prompt_tokens is not None and message.completion_tokens is not None:
            parts.append(
                f"{format.format_count(message.prompt_tokens)} → {format.format_count(message.completion_tokens)}"
            )
        if message.call_id is not None:
            cost = message.cost_nano_usd
            parts.append("— no price known" if cost is None else format_cost(cost, message.cost_status))
        if message.is_remembered:
            parts += ["from memory", *remembered_answers.describe_origin(message.saved_nano_usd, age_s)]
    return blocks.escape_markdown(" · ".join(parts))
