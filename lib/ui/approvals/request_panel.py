"""One request: why it asks, with what it would act, and the decision. Data is drawn as code, never as Markdown."""

import json
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.approvals.approval import Approval, ApprovalState, Decision, GrantScope, Verdict
from lib.errors import InvalidInput, LLMManagerError
from lib.services import Services
from lib.ui import grammar, session
from lib.ui.tools.schema_form import draw_form

_SCOPES = {
    GrantScope.ONCE: "Once",
    GrantScope.CONVERSATION: "In this conversation",
    GrantScope.ALWAYS: "Always for this person",
}
STATES: dict[ApprovalState, tuple[str, Any]] = {
    ApprovalState.WAITING: ("◷ waiting", "orange"),
    ApprovalState.APPROVED: ("✓ approved", "green"),
    ApprovalState.DENIED: ("⊘ denied", "gray"),
    ApprovalState.EXPIRED: ("◌ expired", "gray"),
    ApprovalState.WITHDRAWN: ("■ withdrawn", "gray"),
}


def name_subject(subject: str) -> str:
    """Name what would run without the kind before it: `files__delete` of `tool:files__delete`."""
    return subject.partition(":")[2] or subject


def draw_request(services: Services, actor: Actor, approval: Approval, zone: ZoneInfo) -> None:
    """Draw a request and, while it waits, the form that decides it."""
    label, colour = STATES[approval.state]
    st.badge(label, color=colour)
    if approval.reason:
        st.markdown(f"Asked because {grammar.escape_markdown(approval.reason.rstrip('.'))}.")
    facts = [
        ("For", grammar.escape_markdown(approval.user_name or "the machine's operator")),
        ("Asked", grammar.format_minute(approval.asked_at, zone)),
        ("Deadline", grammar.format_minute(approval.deadline, zone) if approval.deadline else "— it waits"),
        ("Would run", grammar.escape_markdown(name_subject(approval.subject)) or "—"),
    ]
    if approval.decided_at is not None:
        facts[2] = ("Decided", grammar.format_minute(approval.decided_at, zone))
        facts.append(("By", grammar.escape_markdown(approval.decided_by_name) or "— nobody"))
        facts.append(("Holds", _SCOPES[GrantScope(approval.scope)].lower() if approval.scope else "—"))
    grammar.show_facts(facts)
    if approval.comment:
        st.markdown(f"> {grammar.escape_markdown(approval.comment)}")
    _draw_links(approval)
    if approval.is_waiting:
        _draw_form(services, actor, approval)
    elif approval.data is None:
        st.caption(f"Its data ({approval.data_size:,} bytes) is erased: nobody needs it any more.")
    else:
        st.caption("Edited by who decided" if approval.is_edited else "As it was asked")
        st.code(_write(approval.data), language="json", wrap_lines=True)


def _draw_links(approval: Approval) -> None:
    with st.container(horizontal=True, gap="small"):
        if approval.conversation_id:
            query = {"id": approval.conversation_id}
            st.page_link(
                session.page("conversations"), label="Conversation", icon=":material/forum:", query_params=query
            )
        if approval.workflow_run_id:
            query = {"run": approval.workflow_run_id}
            st.page_link(session.page("workflows"), label="Run", icon=":material/account_tree:", query_params=query)
        if approval.call_id:
            query = {"q": approval.call_id, "period": "30d"}
            st.page_link(session.page("activity"), label="Call", icon=":material/receipt_long:", query_params=query)


def _draw_form(services: Services, actor: Actor, approval: Approval) -> None:
    """Draw the decision: data to edit or a form to fill, for how long, a comment, and the two buttons."""
    errors = grammar.FieldErrors()
    answer: Any = None
    unread: LLMManagerError | None = None
    try:
        answer = _ask_data(approval)
    except LLMManagerError as error:
        unread = error
    errors.below("data")
    scope = GrantScope.ONCE
    if approval.subject and approval.user_id:
        scopes = [each for each in GrantScope if each is not GrantScope.CONVERSATION or approval.conversation_id]
        scope = st.radio(
            "Approve", scopes, format_func=_SCOPES.__getitem__, horizontal=True, key=f"scope-{approval.id}"
        )
    errors.below("scope")
    comment = st.text_input("Comment", max_chars=2_000, placeholder="For whoever asked", key=f"comment-{approval.id}")
    errors.below("comment")
    errors.at_end()
    with st.container(horizontal=True, gap="small"):
        is_approved = st.button(
            "Approve request", type="primary", icon=":material/check:", key=f"approve-{approval.id}"
        )
        is_denied = st.button("Deny request", icon=":material/block:", key=f"deny-{approval.id}")
    if not (is_approved or is_denied):
        return
    try:
        decision = Decision(verdict=Verdict.DENY, comment=comment)
        if is_approved:
            if unread is not None:
                raise unread
            decision = Decision(verdict=Verdict.APPROVE, scope=scope, data=answer, comment=comment)
        services.approvals.decide(actor, approval.id, decision)
    except LLMManagerError as error:
        errors.show(error)
        return
    grammar.close()
    st.toast(f"{'Approved' if is_approved else 'Denied'}: {grammar.escape_markdown(approval.title)}")
    st.rerun()


def _ask_data(approval: Approval) -> Any:
    """Draw the fields of a form, or the data to edit; None where it is what was asked, InvalidInput for no JSON."""
    if approval.form_schema is not None:
        _show_data(approval.data)
        answer = draw_form(approval.form_schema, f"form-{approval.id}")
        return answer or ({} if not approval.form_schema.get("required") else None)
    written = st.text_area(
        "Data, JSON",
        _write(approval.data),
        height=160,
        help="Approve it as it stands, or edit it first",
        key=f"data-{approval.id}",
    )
    try:
        data = json.loads(written) if written.strip() else None
    except ValueError as error:
        raise InvalidInput("This is not JSON.", f"{error}.", "Correct it.", field="data") from None
    return None if data == approval.data else data


def _show_data(data: Any) -> None:
    """Draw what a form is about: texts by name, anything else as JSON."""
    if not data:
        return
    if isinstance(data, dict) and all(isinstance(part, str) for part in data.values()):
        for name, text in data.items():
            st.caption(grammar.escape_markdown(str(name)))
            st.text(text)
        return
    st.code(_write(data), language="json", wrap_lines=True)


def _write(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)
