"""The tables of requests: what waits for the actor, and what was decided; the opened one stands beside them."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.approvals.approval import Approval, ApprovalState
from lib.errors import NotFound
from lib.services import Services
from lib.ui import blocks, grammar, session
from lib.ui.approvals.request_panel import STATES, draw_request

_KINDS = {"tool": "Tool", "workflow": "Workflow"}
_TITLE_PX = {"waiting": 410, "decided": 336}
_NARROW_PX = 390  # beside an opened request
_PHONE_PX = 206
_DECIDED = tuple(state for state in ApprovalState if state is not ApprovalState.WAITING)


def show_waiting(services: Services, actor: Actor, zone: ZoneInfo) -> None:
    """Draw what waits for the actor's decision, the oldest first."""
    waiting = services.approvals.waiting(actor)
    if not waiting and grammar.get_opened() is None:
        fact = "Nothing waits for you"
        sentence = "A tool or a workflow that needs your word before it acts shows up here, and waits."
        with grammar.show_empty_state("fact_check", fact, sentence):
            st.page_link(session.page("conversations"), label="Open conversations", icon=":material/forum:")
        return
    _show(services, actor, zone, waiting, "waiting")


def show_decided(services: Services, actor: Actor, zone: ZoneInfo) -> None:
    """Draw what was decided, the newest first."""
    decided = services.approvals.recent(actor, _DECIDED)
    if not decided and grammar.get_opened() is None:
        with grammar.show_empty_state(
            "history", "No decisions yet", "What you and others decided stays here, with who and why."
        ):
            st.caption("Decisions of others show up where you may make them.", text_alignment="center")
        return
    _show(services, actor, zone, decided, "decided")


def _show(services: Services, actor: Actor, zone: ZoneInfo, approvals: Sequence[Approval], name: str) -> None:
    opened = grammar.get_opened()
    detail = _find_detail(services, actor, zone, opened)

    def draw_rows() -> None:
        _draw_table(approvals, zone, name, is_narrow=opened is not None)
        count = len(approvals)
        st.caption(f"{count} {'request' if count == 1 else 'requests'} · times in {zone.key}")

    grammar.show_beside(draw_rows, detail)


def _find_detail(services: Services, actor: Actor, zone: ZoneInfo, opened: str | None) -> grammar.Detail | None:
    if opened is None:
        return None
    try:
        approval = services.approvals.get(actor, opened)
    except NotFound:
        return None
    return grammar.Detail(
        grammar.escape_markdown(approval.title), lambda: draw_request(services, actor, approval, zone)
    )


def _draw_table(approvals: Sequence[Approval], zone: ZoneInfo, name: str, *, is_narrow: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            "title": approval.title,
            "kind": _KINDS[approval.kind],
            "for": approval.user_name,
            "state": [STATES[approval.state][0]],
            "asked": grammar.format_minute(approval.asked_at, zone),
            "deadline": None if approval.deadline is None else grammar.format_minute(approval.deadline, zone),
            "by": approval.decided_by_name or None,
        }
        for approval in approvals
    ]
    text = st.column_config.TextColumn
    wide = ["title", "kind", "for", "asked", *(["deadline"] if name == "waiting" else ["state", "by"])]
    narrow = ["title", "asked" if name == "waiting" else "state"]
    title_px = _TITLE_PX[name]
    if blocks.is_compact():
        title_px = _PHONE_PX
    elif is_narrow:
        title_px = _NARROW_PX
    grammar.open_table(
        name,
        rows,
        [approval.id for approval in approvals],
        {
            "title": text("What", width=title_px),
            "kind": text("Kind", width=84),
            "for": text("For", width=96, help="— means the machine's operator"),
            "state": grammar.make_state_column("State", STATES.values(), 104),
            "asked": text("Asked", width=132),
            "deadline": text("Deadline", width=132, help="— means it waits as long as it takes"),
            "by": text("Decided by", width=112, help="— means nobody: its time was over, or it was withdrawn"),
        },
        order=narrow if is_narrow or blocks.is_compact() else wide,
        alt="Requests for a decision",
    )
