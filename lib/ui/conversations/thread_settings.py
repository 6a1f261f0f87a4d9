"""The head of a thread: title, configuration, the meter of the window, and what is set on the conversation."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.clock import shorten_id, utc_now
from lib.configs.configuration import Configuration
from lib.conversations.context import Selection
from lib.conversations.contexts import Meter
from lib.conversations.conversation import Conversation, Status
from lib.conversations.exports import ExportFormat
from lib.conversations.strategy import ContextStrategy, StrategyKind
from lib.conversations.thread import Thread
from lib.errors import LLMManagerError
from lib.money import format_money, format_sum
from lib.services import Services
from lib.ui import blocks, format, session_keys
from lib.ui.knowledge import collection_cards

_LONGEST_NAME = 26  # characters; with the head's controls a line at 1280 pixels
_NEARLY_FULL = 0.9  # of the model's window
PREFERRED = "conversations.configuration"
_KINDS = {
    StrategyKind.ALL: "Everything",
    StrategyKind.LAST: "The last turns",
    StrategyKind.BUDGET: "As many turns as fit a token budget",
    StrategyKind.SUMMARY: "Everything, summarised before the window is full",
}
_MIME = {
    ExportFormat.MARKDOWN: "text/markdown",
    ExportFormat.JSON: "application/json",
    ExportFormat.CSV: "text/csv",
    ExportFormat.JSONL: "text/plain",
}


def choose_first_configuration(services: Services, actor: Actor, configurations: Mapping[str, Configuration]) -> str:
    """Id of the configuration for a new conversation: from the address, else the one used last, else the default."""
    from_address = next((c.id for c in configurations.values() if c.slug == st.query_params.get("config")), None)
    preferred = from_address or services.preferences.get(actor, PREFERRED)
    default = next((c.id for c in configurations.values() if c.is_global_default), next(iter(configurations)))
    return _draw_picker(None, preferred if preferred in configurations else default, configurations)


def read_configuration_choice(conversation_id: str | None) -> str | None:
    """The configuration that is chosen on the page."""
    configuration_id = st.session_state.get(_build_key(conversation_id))
    return configuration_id if isinstance(configuration_id, str) else None


def _build_key(conversation_id: str | None) -> str:
    return f"configuration-{conversation_id or 'new'}"


def _draw_picker(conversation_id: str | None, current: str, configurations: Mapping[str, Configuration]) -> str:
    ids = list(configurations)
    labels = {c.id: f"{c.slug} · {c.provider_name} · {c.model}" for c in configurations.values()}
    return str(
        st.selectbox(
            "Configuration",
            ids,
            index=ids.index(current),
            format_func=labels.__getitem__,
            label_visibility="collapsed",
            key=_build_key(conversation_id),
            width="stretch" if conversation_id is None or blocks.is_compact() else 180,
        )
    )


def draw_header(
    services: Services,
    actor: Actor,
    thread: Thread,
    configurations: Mapping[str, Configuration],
    draw_actions: Callable[[], None],
) -> str:
    """Draw the head, one line; returns the configuration that answers the next message. `draw_actions` draws what else
    can be done in the conversation.
    """
    conversation = thread.conversation
    if (error := st.session_state.pop(session_keys.CONVERSATION_ERROR, None)) is not None:
        blocks.show_error(error)
    gone = conversation.configuration_id not in configurations
    current = next(iter(configurations)) if gone else str(conversation.configuration_id)
    with blocks.start_row(gap="xsmall"):
        name = conversation.name
        short = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
        full = blocks.escape_markdown(name) if short != name else None
        st.subheader(blocks.escape_markdown(short), anchor=False, width="stretch", help=full)
        status = conversation.status(utc_now())
        if status is not Status.ACTIVE:
            st.badge(str(status), color="gray")
            if st.button("Open again", type="tertiary", icon=":material/lock_open:"):
                services.conversations.reopen(actor, conversation.id)
                st.rerun()
        selected = _draw_picker(conversation.id, current, configurations)
        _draw_context(services, actor, thread, selected)
        _draw_more(services, actor, thread, draw_actions)
    if gone:
        st.warning("Its configuration is switched off or deleted. The next message goes to the one chosen here.")
    if selected != services.preferences.get(actor, PREFERRED) and selected != current:
        services.preferences.set(actor, PREFERRED, selected)
    return selected


def read_selection(services: Services, actor: Actor, thread: Thread) -> Selection | None:
    """Which messages would go with the next one; None when the configuration is gone."""
    meter = _measure_context(services, actor, thread, read_configuration_choice(thread.conversation.id))
    return meter.selection if meter else None


def _measure_context(services: Services, actor: Actor, thread: Thread, configuration: str | None) -> Meter | None:
    try:
        return services.contexts.meter(actor, thread, configuration=configuration)
    except LLMManagerError:
        return None


def _draw_meter(thread: Thread, meter: Meter) -> None:
    """Draw context, tokens, cost so far, cost of the next message."""
    spent = thread.figures
    used = f"≈ {format.format_count(meter.selection.tokens)}"
    if meter.window is not None and meter.share is not None:
        used += f" of {format.format_count(meter.window)}, {format.format_share(meter.share)}"
    tokens = "—"
    if spent.prompt_tokens is not None and spent.completion_tokens is not None:
        tokens = f"{format.format_count(spent.prompt_tokens)} → {format.format_count(spent.completion_tokens)}"
    cost = _format_cost(thread)
    following = ":gray[— no price known]"
    if meter.is_free:
        following = "$0"
    elif meter.next_nano is not None:
        following = blocks.escape_markdown(format_money(meter.next_nano, estimated=True))
        following = following if meter.answer_tokens else f"from {following}"
    facts = [("Context", blocks.escape_markdown(used)), ("Tokens", tokens), ("Cost", blocks.escape_markdown(cost))]
    blocks.show_facts([*facts, ("Next message", following)], columns=2)
    if meter.share is not None:
        st.progress(min(meter.share, 1.0))
    if notes := _list_meter_notes(meter, spent.unpriced):
        st.caption(" · ".join(notes))


def _format_cost(thread: Thread) -> str:
    spent = thread.figures
    return "$0" if not spent.calls else format_sum(spent.cost_nano_usd, spent.unpriced, estimated=spent.estimated > 0)


def _name_context(thread: Thread, meter: Meter | None) -> str:
    """The popover's label: how full the window is, and the cost so far."""
    if meter is None:
        return "Context"
    used = f"≈ {format.format_count(meter.selection.tokens)}"
    if meter.share is not None:
        used = f"{format.format_share(meter.share)} full"
    warning = ":orange[:material/warning:] " if meter.share is not None and meter.share > _NEARLY_FULL else ""
    return warning + blocks.escape_markdown(f"{used} · {_format_cost(thread)}")


def _list_meter_notes(meter: Meter, unpriced_calls: int) -> list[str]:
    """List notes on what the meter's figures leave out."""
    notes = [] if meter.window else ["the model's window is not known"]
    if meter.selection.left_out:
        notes.append(f"{meter.selection.left_out} messages are not sent")
    if unpriced_calls:
        notes.append(f"{unpriced_calls} calls unpriced, not or not wholly in the cost")
    if meter.share is not None and meter.share > 1:
        notes.append("more than the model can read: compact, or send less under Context")
    return notes


def _draw_context(services: Services, actor: Actor, thread: Thread, configuration: str) -> None:
    """Draw the popover with the figures, which sets how much of the history is sent, and compacts it."""
    conversation = thread.conversation
    now = conversation.strategy
    meter = _measure_context(services, actor, thread, configuration)
    help_text = "Figures, and what of the conversation goes to the model"
    with st.popover(
        _name_context(thread, meter), icon=":material/data_usage:", help=help_text, key=f"context-{conversation.id}"
    ):
        if meter is not None:
            _draw_meter(thread, meter)
        kind = st.radio(
            "Send", list(_KINDS), index=list(_KINDS).index(now.kind), format_func=_KINDS.__getitem__, key="strategy"
        )
        last = now.last
        tokens = now.tokens
        if kind is StrategyKind.LAST:
            last = int(st.number_input("Turns", 1, 10_000, now.last))
        if kind is StrategyKind.BUDGET:
            tokens = int(st.number_input("Tokens", 1, 10_000_000, now.tokens))
        strategy = ContextStrategy(
            kind,
            last,
            tokens,
            now.configuration_id,
            collection_cards.choose_collections(services, actor, now.collections),
        )
        if strategy != now:
            with blocks.show_errors():
                services.conversations.update(actor, conversation.id, strategy=strategy)
                st.rerun()
        st.caption("The system prompt always goes. A summary keeps the last four turns word for word.")
        if st.button("Compact now", icon=":material/compress:"):
            with blocks.show_errors(), st.spinner("The model writes a summary"):
                services.contexts.compact(actor, conversation.id, read_configuration_choice(conversation.id))
                st.rerun()


def _draw_more(services: Services, actor: Actor, thread: Thread, draw_actions: Callable[[], None]) -> None:
    conversation = thread.conversation
    with st.popover(
        "", icon=":material/more_horiz:", type="tertiary", help="More of this talk", key=f"more-{conversation.id}"
    ):
        draw_actions()
        _draw_form(services, actor, conversation)
        changes = {
            "Unpin" if conversation.is_pinned else "Pin": ("keep", {"is_pinned": not conversation.is_pinned}),
            "Unarchive" if conversation.is_archived else "Archive": (
                "archive",
                {"is_archived": not conversation.is_archived},
            ),
        }
        with blocks.start_row(gap="xsmall"):
            for label, (icon, fields) in changes.items():
                if st.button(label, icon=f":material/{icon}:"):
                    services.conversations.update(actor, conversation.id, **fields)
                    st.rerun()
            if conversation.ended_at is None and st.button("End", icon=":material/lock:"):
                services.conversations.end(actor, conversation.id)
                st.rerun()
        st.caption("Export")
        with blocks.start_row(gap="xsmall"):
            for form in ExportFormat:
                st.download_button(
                    form.name.capitalize() if form is ExportFormat.MARKDOWN else form.name,
                    data=partial(services.conversation_exchange.export, actor, [conversation.id], form),
                    file_name=f"conversation-{shorten_id(conversation.id)}.{form}",
                    mime=_MIME[form],
                    type="tertiary",
                    on_click="ignore",
                    key=f"export-{form}",
                )
        if st.button(":red[Delete conversation]", icon=":material/delete:"):
            _delete(services, actor, conversation)


def _draw_form(services: Services, actor: Actor, conversation: Conversation) -> None:
    with st.form(f"settings-{conversation.id}", border=False):
        title = st.text_input("Title", conversation.title)
        folder = st.text_input("Folder", conversation.folder)
        tags = st.text_input("Tags", ", ".join(conversation.tags), placeholder="Parted by commas")
        prompt = st.text_area(
            "System prompt",
            conversation.system_prompt or "",
            height=90,
            placeholder="Empty: the configuration's own",
        )
        hours = st.number_input(
            "Expires after hours without a message",
            min_value=1,
            max_value=8_760,
            value=None if conversation.ttl_s is None else max(1, conversation.ttl_s // 3600),
            placeholder="Never",
        )
        if st.form_submit_button("Save settings"):
            fields: dict[str, Any] = {"folder": folder, "tags": tags.split(","), "system_prompt": prompt or None}
            fields["ttl_s"] = None if hours is None else int(hours) * 3600
            if title != conversation.title:
                fields["title"] = title
            with blocks.show_errors():
                services.conversations.update(actor, conversation.id, **fields)
                st.rerun()


@st.dialog("Delete this conversation?")
def _delete(services: Services, actor: Actor, conversation: Conversation) -> None:
    st.markdown(
        f"**{blocks.escape_markdown(conversation.name)}** goes with its messages, branches and files, for good."
    )
    st.caption("Its calls stay in the ledger with their cost.")
    with blocks.start_row():
        if st.button("Keep conversation"):
            st.rerun()
        if st.button(":red[Delete conversation]", key="really-delete"):
            services.conversations.delete(actor, conversation.id)
            st.query_params.pop("id", None)
            st.rerun()
