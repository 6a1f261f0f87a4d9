"""The panel of one call. The address names it: `?id=<log id>`.

Words of people and models are drawn by `st.code` alone: nothing in them is Markdown or loads anything.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.activity.call_rows import ActivityOptions, ActivityRow, CallDetail
from lib.calls.request import ASKED_AGAIN, Origin
from lib.calls.sources import NO_CACHE
from lib.clock import shorten_id
from lib.errors import LLMManagerError
from lib.money import format_cost
from lib.services import Services
from lib.tokens.message_text import read_message_text
from lib.ui import blocks, format, session, session_keys
from lib.ui.activity import custom_metrics
from lib.ui.cache import remembered_answers

_LANES = {"relay": "relayed", "translate": "translated"}
_PART_OF = {
    "session_id": "Session, as the program names it",
    "parent_call_id": "Id of the call for whose sake it was made",
    "conversation_id": "Id of the conversation",
    "workflow_run_id": "Id of the workflow's run",
    "workflow_step": "Step of the workflow",
}
_SHOWN_CHARACTERS = 20_000
_NOT_KEPT = "The request was not kept, or its time to be kept is over."
_POLICIES = {
    "metadata": "The configuration keeps no words of its calls (content policy: metadata).",
    "redacted": "Private words are masked (content policy: redacted). The model saw them.",
}


def collect_user_names(options: ActivityOptions) -> dict[str, str]:
    """Names by user id: accounts, sample people, and the beginning of the id for who is gone."""
    sample = load_sample_names()
    return {user_id: name or sample.get(user_id, shorten_id(user_id)) for user_id, name in options.users.items()}


def load_sample_names() -> dict[str, str]:
    """Names of the sample data's people, who have no account."""
    from lib.demo import name_demo_users

    return name_demo_users()


def find_user_name(user_id: str | None, name: str | None, names: Mapping[str, str]) -> str | None:
    """The user's name as well as it is known."""
    return name or (names.get(user_id, shorten_id(user_id)) if user_id else None)


def show_panel(services: Services, actor: Actor, log_id: str, names: Mapping[str, str], zone: ZoneInfo) -> None:
    """One call in full, or why there is nothing to show."""
    try:
        detail = services.activity.detail(actor, log_id)
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    st.badge(format.STATUS_GLYPHS[detail.status], color=format.STATUS_COLOURS[detail.status])  # type: ignore[arg-type]
    log = detail.log
    person = find_user_name(log["user_id"], detail.user_name, {**load_sample_names(), **names}) or "no user"
    scope = [format.format_moment(log["started_at"], zone), log["app"], person, log["origin"]]
    if detail.api_key_name:
        scope.append(f"key {detail.api_key_name}")
    if log["origin"] == Origin.GATEWAY and (lane := _LANES.get(str(log.get("lane")))):
        scope.append(lane)
    if (number := log.get("calls")) != 1 and log["status"] != "running":
        scope.append("a sum of many calls" if number is None else f"a sum of {number:,} calls")
    is_hit = (log.get("cache") or NO_CACHE) != NO_CACHE
    if is_hit:
        scope += _describe_hit(services, actor, log)
    if log.get("session_id"):
        scope.append(f"session {log['session_id']}")
    st.caption(blocks.escape_markdown(" · ".join(scope)))
    if log["error_message"]:
        blocks.show_failure(log["error_message"])
    blocks.show_facts(_list_facts(log, detail.attempts))
    _show_tabs(services, actor, detail)
    with blocks.start_row():
        if detail.is_own and st.button("Open in playground", icon=":material/play_circle:"):
            st.switch_page(session.page("playground"), query_params={"run": str(log["call_id"])})
        if detail.is_own and is_hit and st.button(remembered_answers.ASK_AGAIN, icon=":material/replay:"):
            st.session_state[session_keys.RUN_AGAIN] = ASKED_AGAIN
            st.switch_page(session.page("playground"), query_params={"run": str(log["call_id"])})
        with st.popover("More", icon=":material/more_horiz:", type="tertiary", key="more-of-call"):
            _show_ids(detail)


def _describe_hit(services: Services, actor: Actor, log: Mapping[str, Any]) -> list[str]:
    """Phrases about an answer from memory: the tier that found it, what it saved, how old it was."""
    call_id = str(log["call_id"])
    age_s = services.cache.find_answer_ages(actor, [call_id]).get(call_id)
    return [f"from memory ({log['cache']})", *remembered_answers.describe_origin(log.get("saved_nano_usd"), age_s)]


def _show_ids(detail: CallDetail) -> None:
    """The link and the ids, each with the copy button of a code block."""
    for label, value in (
        ("Link to this call", f"{st.context.url or ''}?id={detail.id}"),
        ("Id in the log", detail.id),
        ("Id of the call, the same for all its attempts", str(detail.log["call_id"])),
        *((label, str(detail.log[name])) for name, label in _PART_OF.items() if detail.log.get(name)),
    ):
        st.caption(label)
        st.code(value, language=None, wrap_lines=True)


def _list_facts(log: Mapping[str, Any], attempts: Sequence[ActivityRow]) -> list[tuple[str, str]]:
    running = log["status"] == "running"
    sign = "≈ " if log["usage_source"] == "estimated" else ""
    tokens = ":gray[— not known]"
    if log["prompt_tokens"] is not None and log["completion_tokens"] is not None:
        tokens = f"{sign}{log['prompt_tokens']:,} → {log['completion_tokens']:,}"
    if running:
        cost = ":gray[— still running]"
    elif log["usage_source"] == "none" and not log["cost_nano_usd"]:
        cost = ":gray[— not charged]"
    elif log["cost_nano_usd"] is None:
        cost = ":gray[— no price known]"
    else:
        cost = blocks.escape_markdown(format_cost(log["cost_nano_usd"], log["cost_status"]))
    first = log["first_token_ms"]
    return [
        ("Cost", cost),
        ("Tokens", tokens),
        ("First token", ":gray[— none arrived]" if first is None else format.format_duration(first)),
        ("Duration", ":gray[— still running]" if running else format.format_duration(measure_call(attempts))),
    ]


def measure_call(attempts: Sequence[ActivityRow]) -> float | None:
    """Milliseconds from the first attempt's start to the last one's end, with waits; None where one is not known."""
    if not attempts or any(row.execution_time_ms is None for row in attempts):
        return None
    began = min(row.started_at for row in attempts)
    return max((row.started_at - began) / timedelta(milliseconds=1) + (row.execution_time_ms or 0) for row in attempts)


def _show_tabs(services: Services, actor: Actor, detail: CallDetail) -> None:
    names = ["Attempts", "Request", "Response", "Parameters", "Metrics"]
    attempts, request, response, parameters, noted = st.tabs(names)
    with attempts:
        _show_attempts(detail)
    with request:
        _show_request(detail)
    with response:
        _show_response(detail)
    with parameters:
        st.json(detail.log["parameters"] or {})
        with st.expander("Every column"):
            st.code(json.dumps(detail.log, default=str, ensure_ascii=False, indent=2), language="json", wrap_lines=True)
    with noted:
        custom_metrics.show_call_metrics(services, actor, detail)


def _show_attempts(detail: CallDetail) -> None:
    import pandas as pd

    def result(row: ActivityRow) -> str:
        why = f" ({row.error_kind.replace('_', ' ')})" if row.error_kind else ""
        return blocks.escape_markdown(format.STATUS_GLYPHS[row.status] + why)

    lines = [
        (
            str(row.attempt),
            blocks.escape_markdown(f"{row.provider} · {row.model}"),
            result(row),
            format.format_duration(row.execution_time_ms),
        )
        for row in detail.attempts
    ]
    frame = pd.DataFrame(lines, columns=["No.", "Provider and model", "Result", "Time"])
    st.table(frame, border="horizontal", hide_index=True)


def _may_read(detail: CallDetail) -> bool:
    if not detail.reads_content:
        st.caption("Words stay with their author. The person who made the call and super-admins can read them.")
    if detail.reads_content and detail.content_policy in _POLICIES:
        st.caption(f":material/visibility_off: {_POLICIES[detail.content_policy]}")
    return detail.reads_content


def _show_request(detail: CallDetail) -> None:
    if not _may_read(detail):
        return
    if not detail.messages:
        _show_words(detail.prompt_text, _NOT_KEPT if detail.content_policy != "metadata" else "")
    for message in detail.messages or []:
        st.caption(blocks.escape_markdown(str(message.get("role", "message"))))
        _show_words(read_message_text(message) or json.dumps(message, ensure_ascii=False, indent=2), "")


def _show_response(detail: CallDetail) -> None:
    if not _may_read(detail):
        return
    if reasoning := detail.response.get("reasoning"):
        with st.expander("Reasoning", icon=":material/psychology:"):
            _show_words(str(reasoning), "")
    nothing = "No response yet." if detail.status == "running" else "No response was received."
    _show_words(detail.response_text, nothing if detail.content_policy != "metadata" else "")
    if tools := detail.response.get("tool_calls"):
        st.caption("Tool calls")
        st.code(json.dumps(tools, ensure_ascii=False, indent=2)[:_SHOWN_CHARACTERS], language="json", wrap_lines=True)


def _show_words(text: str | None, nothing: str) -> None:
    """Somebody's words, as they are; very long ones are cut, because a browser would stall."""
    if not text:
        if nothing:
            st.caption(nothing)
        return
    st.code(text[:_SHOWN_CHARACTERS], language=None, wrap_lines=True, height=320 if len(text) > 1200 else "content")
    if len(text) > _SHOWN_CHARACTERS:
        st.caption(f"The first {_SHOWN_CHARACTERS:,} of {len(text):,} characters. An export as JSON has all.")
