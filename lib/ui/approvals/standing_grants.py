"""What runs without a question, and the button that lets it ask again."""

from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.approvals.approval import StandingGrant
from lib.services import Services
from lib.ui import blocks, grammar
from lib.ui.approvals.request_panel import name_subject


def show_grants(services: Services, actor: Actor, zone: ZoneInfo) -> None:
    """Draw the standing grants of the actor; a super-admin sees everybody's."""
    grants = services.approvals.standing(actor)
    if not grants:
        fact = "Everything asks"
        sentence = "What you approve for a conversation or for always shows up here, and can be taken back."
        with grammar.show_empty_state("task_alt", fact, sentence):
            st.caption("Choose it when you approve a request.", text_alignment="center")
        return
    opened = grammar.get_opened("grant")
    is_phone = blocks.is_compact()
    opened_grant = next((grant for grant in grants if grant.id == opened), None)

    def draw_rows() -> None:
        rows = [
            {
                "subject": name_subject(grant.subject),
                "for": grant.user_name,
                "where": "in one conversation" if grant.conversation_id else "everywhere",
                "granted": grammar.format_minute(grant.granted_at, zone),
                "by": grant.granted_by_name,
            }
            for grant in grants
        ]
        text = st.column_config.TextColumn
        columns = {
            "subject": text("What runs", width=206 if is_phone else 380),
            "for": text("For", width=104),
            "where": text("Where", width=132),
            "granted": text("Since", width=132),
            "by": text("Approved by", width=104),
        }
        ids = [grant.id for grant in grants]
        alt = "What runs without a question"
        order = ["subject", "where"] if is_phone or opened_grant is not None else None
        grammar.open_table("grants", rows, ids, columns, order=order, parameter="grant", alt=alt)
        st.caption(f"{len(grants)} {'grant' if len(grants) == 1 else 'grants'} · times in {zone.key}")

    detail = None
    if opened_grant is not None:
        detail = grammar.Detail(
            grammar.escape_markdown(name_subject(opened_grant.subject)),
            lambda: _draw_grant(services, actor, opened_grant, zone),
        )
    grammar.show_beside(draw_rows, detail, parameter="grant")


def _draw_grant(services: Services, actor: Actor, grant: StandingGrant, zone: ZoneInfo) -> None:
    reach = "in one conversation" if grant.conversation_id else "everywhere"
    grammar.show_facts(
        [
            ("For", grammar.escape_markdown(grant.user_name or "—")),
            ("Where", reach),
            ("Since", grammar.format_minute(grant.granted_at, zone)),
            ("Approved by", grammar.escape_markdown(grant.granted_by_name)),
        ]
    )
    if st.button(":red[Revoke]", icon=":material/undo:", key=f"revoke-{grant.id}"):
        grammar.confirm(
            f"Let {grammar.escape_markdown(name_subject(grant.subject))} ask again?",
            f"It runs {reach} without a question now. From the next time on it waits for an approval.",
            keep="Keep grant",
            act="Revoke grant",
            action=lambda: services.approvals.revoke(actor, grant.id),
            undo="To undo it, approve the next request for always.",
            icon="undo",
            then=lambda: grammar.close("grant"),
        )
