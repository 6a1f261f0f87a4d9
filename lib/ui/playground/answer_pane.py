"""The playground's pane: the answer while it grows, its figures, its monitor and the list of recent runs."""

from collections.abc import Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.calls.live_call import CallView
from lib.calls.sources import NO_CACHE
from lib.clock import shorten_id
from lib.configs.configurations import Configuration
from lib.knowledge.quoting import QuotedSource, parse_message
from lib.money import format_cost, format_sum
from lib.providers.parameters import Parameter, list_not_offered, list_offered
from lib.services import Services
from lib.tokens.message_text import read_message_text
from lib.ui import blocks, copy_button, format, session, session_keys
from lib.ui.cache import remembered_answers
from lib.ui.knowledge import citations

_MEMORY = {
    "exact": "The same request was answered before.",
    "loose": "The same question, but for greetings and thanks, was answered before.",
    "semantic": "A question that means the same was answered before.",
}
ANSWER_HEIGHT = 338  # while it grows, so that Stop stays where it is; then an answer is as tall as its words
REDRAW_S = 0.3
RUNS_PER_PAGE = 8
LONGEST_ARGUMENTS = 20_000  # characters shown


def draw_parameters(configuration: Configuration, prefix: str = "") -> dict[str, Any]:
    """Controls for what the model takes; the values that differ from the configuration's."""
    for parameter in list_offered(configuration.provider_kind):
        default = configuration.parameters.get(parameter.name)
        _draw_number_input(parameter, default, key=f"{prefix}{configuration.id}-{parameter.name}")
    missing = ", ".join(parameter.name for parameter in list_not_offered(configuration.provider_kind))
    if missing:
        st.caption(f"Not offered by this model: {blocks.escape_markdown(missing)}.")
    return read_changed_parameters(configuration, prefix)


def read_changed_parameters(configuration: Configuration, prefix: str = "") -> dict[str, Any]:
    """Parameters by name that the controls set otherwise than the configuration; also before these are drawn."""
    changed: dict[str, Any] = {}
    for parameter in list_offered(configuration.provider_kind):
        default = configuration.parameters.get(parameter.name)
        value = st.session_state.get(f"{prefix}{configuration.id}-{parameter.name}", default)
        if value != default:
            changed[parameter.name] = value
    return changed


def _draw_number_input(parameter: Parameter, default: Any, key: str) -> float | int | None:
    whole = parameter.step == 1
    cast = int if whole else float
    return st.number_input(
        parameter.label,
        min_value=cast(parameter.low),
        max_value=cast(parameter.high),
        value=None if default is None else cast(default),
        step=cast(parameter.step),
        placeholder="The provider's default",
        help=parameter.help,
        key=key,
    )


def draw_question(view: CallView) -> None:
    """The prompt as it was sent."""
    prompts = [read_message_text(message) for message in view.messages if message.get("role") == "user"]
    quoted = parse_message(prompts[-1] if prompts else "— the prompt was not kept")
    with st.chat_message("user", avatar=":material/person:"):
        st.text(quoted.question)


def read_sources(view: CallView) -> tuple[QuotedSource, ...]:
    """The passages that went with the question."""
    prompts = [read_message_text(message) for message in view.messages if message.get("role") == "user"]
    return parse_message(prompts[-1]).sources if prompts else ()


def draw_answer(
    view: CallView,
    height: Any,
    *,
    badges: Sequence[tuple[str, str]] = (),
    is_hidden: bool = False,
    draw_steps: Callable[[], str] | None = None,
) -> None:
    """Model and state, and the text; `is_hidden` leaves out whatever tells who wrote it.

    `draw_steps` draws what came before the last words of an answer with tools, and returns these.
    """
    with blocks.start_row(gap="xsmall"):
        if not is_hidden:
            model = (
                f"{blocks.escape_markdown(view.provider)} · {blocks.escape_markdown(view.served_model or view.model)}"
            )
            st.caption(model, width="content")
        _state_badge(view)
        for label, icon in badges:
            st.badge(label, icon=icon, color="gray")
        if view.finish_reason == "length":
            st.badge("Cut at max output tokens", icon=":material/content_cut:", color="orange")
        if view.cache != NO_CACHE and not is_hidden:
            origin = remembered_answers.describe_origin(view.saved_nano_usd, view.age_s)
            st.badge(
                blocks.escape_markdown(" · ".join(["From memory", *origin])),
                icon=":material/cached:",
                color="green",
                help=_MEMORY[view.cache],
            )
        if view.attempt > 1 and not is_hidden:
            st.badge(f"Attempt {view.attempt}", icon=":material/replay:", color="orange")
    if view.error_message:
        show = "It failed." if is_hidden else view.error_message
        blocks.show_failure(show)
    with st.container(height=height if view.running else "content", border=False, autoscroll=view.running):
        _draw_words(view, draw_steps)


def _draw_words(view: CallView, draw_steps: Callable[[], str] | None) -> None:
    """Reasoning, the rounds of tools, the text and the tools that whoever asked has to run."""
    if view.reasoning:
        with st.expander("Reasoning", icon=":material/psychology:"):
            st.text(view.reasoning)
    text = view.text if draw_steps is None else draw_steps()
    if text and view.running:
        st.markdown(blocks.sanitise_markdown(format_growing_answer(text)))
    elif text:
        citations.draw_answer(text, read_sources(view))
    elif view.running:
        if draw_steps is None:
            st.skeleton(height=72)
    elif not view.error_message and not view.tool_calls:
        st.caption("No text arrived.")
    for call in view.tool_calls:
        st.caption(blocks.escape_markdown(f"Asks for {call['name']}"))
        st.code(call["arguments"][:LONGEST_ARGUMENTS], language="json", wrap_lines=True)


def draw_copy_button(view: CallView, *, key: str) -> None:
    """The answer's words, as the model wrote them, for the clipboard; nothing while it grows."""
    if view.text and not view.running:
        copy_button.draw_copy_button(view.text, key=key, help="Copy the answer")


def draw_log_link(view: CallView) -> None:
    """To the row in the ledger."""
    st.page_link(
        session.page("activity"),
        label=f"Log {shorten_id(view.log_id)}",
        icon=":material/receipt_long:",
        query_params={"id": view.log_id},
        disabled=view.running,
    )


def _state_badge(view: CallView) -> None:
    if view.running:
        st.badge("Streaming", icon=":material/graphic_eq:", color="blue")
    else:
        st.badge(format.STATUS_GLYPHS[view.status], color=format.STATUS_COLOURS[view.status])  # type: ignore[arg-type]


def format_growing_answer(text: str) -> str:
    """A partial answer that renders well: an open code block is closed behind the cursor."""
    return text + (" ▍\n```" if text.count("```") % 2 else " ▍")


def draw_figures(view: CallView, *, is_narrow: bool = False) -> None:
    """Tokens, chunks, first token, speed, time, cost; `≈` marks an estimate. Without chunks where it is narrow."""
    sign = "≈ " if view.usage_source == "estimated" else ""
    tokens = "—"
    if view.prompt_tokens is not None and view.completion_tokens is not None:
        tokens = f"{sign}{format.format_count(view.prompt_tokens)} → {format.format_count(view.completion_tokens)}"
    blocks.show_facts(
        [
            ("Tokens", tokens),
            *([] if is_narrow else [("Chunks", format.format_count(view.chunks))]),
            (
                "First token",
                format.format_duration(view.first_token_ms) if view.first_token_ms else ":gray[— none yet]",
            ),
            ("Speed", format.format_speed(view.tokens_per_second)),
            ("Time", format.format_duration(view.execution_time_ms)),
            ("Cost", format_call_cost(view)),
        ],
        columns=5 if is_narrow else 6,
    )
    parts = [(view.cache_read_tokens, "of the prompt from the cache"), (view.reasoning_tokens, "spent on reasoning")]
    if details := [f"{sign}{format.format_count(tokens)} {meaning}" for tokens, meaning in parts if tokens]:
        st.caption(f"Tokens: {', '.join(details)}.")


def format_call_cost(view: CallView) -> str:
    """The cost as Markdown, with the reason where there is no figure."""
    if view.usage_source == "none" and not view.running:
        return ":gray[— not charged]"
    if view.cost_nano_usd is None:
        return ":gray[— no price known]"
    return blocks.escape_markdown(format_cost(view.cost_nano_usd, view.cost_status))


def draw_events(view: CallView) -> None:
    """The last hundred events of a call that ran in this process."""
    with st.expander("Monitor", icon=":material/monitoring:"):
        if not view.events:
            st.caption("Events are kept for ten minutes after a call. The log row has the outcome.")
            return
        st.code("\n".join(f"{e.at_ms:>7} ms  {e.name:<12} {e.detail}" for e in view.events), language=None)


def draw_recent_runs(services: Services, actor: Actor, zone: ZoneInfo, current: str | None) -> None:
    """The actor's own runs, newest first, a page at a time; each opens by its address."""
    st.subheader("Recent runs", anchor=False)
    page = st.session_state.get(session_keys.PLAYGROUND_RUNS_PAGE, 1)
    runs, has_older = services.playground.recent(actor, page, RUNS_PER_PAGE)
    if not runs:
        st.caption("Your runs will stand here, each with its cost. They are kept when you leave the page.")
    for run in runs:
        with st.container(gap=None):
            first_line = (parse_message(run.prompt_text).question.strip() or "— the prompt was not kept").splitlines()[
                0
            ]
            label = blocks.escape_markdown(first_line if len(first_line) <= 40 else first_line[:39] + "…")
            icon = ":material/radio_button_checked:" if run.id == current else ":material/chat_bubble:"
            if st.button(label, key=f"run-{run.id}", type="tertiary", icon=icon):
                st.query_params["run"] = run.id
                st.rerun()
            started = format.format_moment(run.created_at, zone).rpartition(":")[0]
            panes = "1 pane" if run.panes == 1 else f"{run.panes} panes"
            cost = format_sum(run.cost_nano_usd, run.partly_known)
            st.caption(" · ".join(blocks.escape_markdown(part) for part in (started, panes, cost)))
    if page > 1 or has_older:
        with blocks.start_row():
            if st.button("Newer", type="tertiary", disabled=page == 1, icon=":material/chevron_left:"):
                st.session_state[session_keys.PLAYGROUND_RUNS_PAGE] = page - 1
                st.rerun()
            if st.button("Older", type="tertiary", disabled=not has_older, icon=":material/chevron_right:"):
                st.session_state[session_keys.PLAYGROUND_RUNS_PAGE] = page + 1
                st.rerun()
