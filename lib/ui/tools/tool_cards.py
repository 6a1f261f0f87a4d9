"""Tool calls in an answer as cards: what was asked for, what came back, how long it took; and questions to a person.

What tools return is text from outside: it is drawn as text, never as Markdown or HTML.
"""

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.approvals.approval import Decision, GrantScope, Verdict
from lib.errors import LLMManagerError
from lib.services import Services
from lib.tools.tool import ExecutionStatus, ToolExecution, ToolImage
from lib.tools.turn import TurnView
from lib.ui import blocks, format, session

LONGEST_SHOWN = 20_000  # characters
STATUS_WORDS = {
    ExecutionStatus.RUNNING: ("● running", "blue", "progress_activity"),
    ExecutionStatus.OK: ("✓ ok", "green", "check_circle"),
    ExecutionStatus.ERROR: ("✕ error", "red", "error"),
    ExecutionStatus.FAILED: ("✕ failed", "red", "error"),
    ExecutionStatus.INVALID_ARGUMENTS: ("✕ wrong arguments", "red", "error"),
    ExecutionStatus.INVALID_RESULT: ("✕ wrong result", "red", "error"),
    ExecutionStatus.UNKNOWN_TOOL: ("✕ unknown tool", "red", "error"),
    ExecutionStatus.DENIED: ("⊘ denied", "gray", "block"),
    ExecutionStatus.TIMEOUT: ("◷ timeout", "orange", "timer_off"),
    ExecutionStatus.STOPPED: ("■ stopped", "gray", "stop_circle"),
    ExecutionStatus.NEEDS_INPUT: ("? asks back", "blue", "help"),
    ExecutionStatus.WAITING: ("? waits for approval", "blue", "pending"),
    ExecutionStatus.ORPHANED: ("◌ orphaned", "gray", "help"),
}


def describe_status(status: str) -> tuple[str, str, str]:
    """The words, colour and icon of a run's status."""
    return STATUS_WORDS.get(ExecutionStatus(status), (status, "gray", "build"))


def find_badge(turn: TurnView | None) -> list[tuple[str, str]]:
    """The mark of an answer that waits for a person."""
    return [("Waits for a decision", ":material/pending:")] if turn is not None and turn.is_waiting else []


def draw_turn(services: Services, actor: Actor, turn: TurnView, key: str) -> None:
    """Draw the rounds of a turn but for the words of the last, which are the answer."""
    for number, step in enumerate(turn.steps):
        is_last = number == len(turn.steps) - 1 and not turn.is_waiting
        if step.call.text.strip() and not is_last:
            st.markdown(blocks.sanitise_markdown(step.call.text))
        for execution in step.executions:
            draw_execution(execution)
        if not step.executions and not is_last:
            st.caption("The tools of this round are not kept any more.")
    if turn.is_waiting:
        draw_questions(services, actor, turn, key)


def make_steps(services: Services, actor: Actor, turn: TurnView | None, key: str) -> Callable[[], str] | None:
    """Make what draws a turn's rounds and returns its last words; None for an answer without tools."""
    if turn is None or not turn.steps:
        return None

    def draw_steps() -> str:
        draw_turn(services, actor, turn, key)
        last = turn.steps[-1]
        return last.call.text if not last.executions or not turn.is_waiting else ""

    return draw_steps


def draw_execution(execution: ToolExecution, *, is_open: bool = False) -> None:
    """Draw one run: a line that opens to arguments, result, pictures and the reason for asking."""
    words, _, icon = describe_status(execution.status)
    time = "" if execution.duration_ms is None else f" · {format.format_duration(execution.duration_ms)}"
    label = f"**{blocks.escape_markdown(execution.tool)}** :gray[{blocks.escape_markdown(words + time)}]"
    with st.expander(label, icon=f":material/{icon}:", expanded=is_open):
        if execution.reason:
            st.caption(blocks.escape_markdown(execution.reason[:1].upper() + execution.reason[1:] + "."))
        draw_arguments(execution)
        draw_result(execution)
        facts = [execution.server or execution.source, f"run {execution.id[-8:]}"]
        st.caption(blocks.escape_markdown(" · ".join(fact for fact in facts if fact)))


def draw_arguments(execution: ToolExecution) -> None:
    """Draw the arguments as JSON, or why there are none."""
    st.caption("Arguments")
    if execution.arguments is None:
        st.caption(f"— not kept or not for you to read; {format.format_count(execution.arguments_bytes)} bytes")
        return
    st.code(_format_json(execution.arguments), language="json", wrap_lines=True)


def draw_result(execution: ToolExecution) -> None:
    """Draw what came back: text or structure, and pictures."""
    output = execution.output
    if execution.is_open:
        return
    if output is None:
        message = execution.error_message or f"— not kept; {format.format_count(execution.result_bytes)} bytes"
        st.caption(blocks.escape_markdown(message))
        return
    st.caption("Result" if not output.is_error else "Error")
    if output.structured is not None:
        st.code(_format_json(output.structured), language="json", wrap_lines=True)
    elif output.text:
        st.code(output.text[:LONGEST_SHOWN], language=None, wrap_lines=True)
    for image in output.images:
        _draw_image(image)


def draw_questions(services: Services, actor: Actor, turn: TurnView, key: str) -> None:
    """Draw what waits for a decision, with the decision itself where the actor may take it."""
    for execution in turn.executions:
        if execution.is_open and execution.approval_id is not None:
            _draw_question(services, actor, execution, f"{key}-{execution.id}")


def _draw_question(services: Services, actor: Actor, execution: ToolExecution, key: str) -> None:
    if execution.approval_id is None:
        return
    try:
        approval = services.approvals.get(actor, execution.approval_id)
    except LLMManagerError:
        st.caption("It waits for somebody else's decision.")
        return
    if not approval.is_waiting:
        st.caption("Decided. The answer goes on.")
        return
    with st.container(border=True):
        st.markdown(f"**{blocks.escape_markdown(approval.title)}**")
        if approval.reason:
            st.caption(blocks.escape_markdown(f"Asked because {approval.reason}."))
        if approval.data is not None:
            st.code(_format_json(approval.data), language="json", wrap_lines=True)
        if approval.form_schema is not None:
            st.page_link(session.page("approvals"), label="Answer the question", icon=":material/edit_note:")
            return
        with blocks.start_row():
            for label, icon, verdict, scope in _CHOICES:
                if scope is GrantScope.CONVERSATION and approval.conversation_id is None:
                    continue
                if st.button(label, icon=f":material/{icon}:", key=f"{key}-{verdict}-{scope}"):
                    with blocks.show_errors():
                        decision = Decision(verdict=verdict, scope=scope)
                        services.approvals.decide(actor, approval.id, decision)
                        blocks.redraw_page()


_CHOICES = (
    ("Allow once", "check", Verdict.APPROVE, GrantScope.ONCE),
    ("Allow in this conversation", "forum", Verdict.APPROVE, GrantScope.CONVERSATION),
    ("Deny", "block", Verdict.DENY, GrantScope.ONCE),
)


def _draw_image(image: ToolImage) -> None:
    try:
        st.image(base64.b64decode(image.base64, validate=True), width=320)
    except (binascii.Error, ValueError, OSError):
        st.caption("The picture can't be shown.")


def _format_json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, default=str)[:LONGEST_SHOWN]
