"""Requests for a decision: who sees and decides them, what a decision leaves, and that whoever asked hears of it."""

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from lib.access.permissions import Actor, Role, make_actor
from lib.approvals.approval import (
    MOST_BYTES,
    Approval,
    ApprovalKind,
    ApprovalRequest,
    ApprovalState,
    Deciders,
    Decision,
    Escalation,
    GrantScope,
    Verdict,
)
from lib.approvals.approvals import Approvals
from lib.clock import utc_now
from lib.db import installation
from lib.db.engine import Store
from lib.db.tables import approvals, webhook_outbox
from lib.db.vault import Vault
from lib.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from lib.settings import Settings
from tests.activity.activity_rig import AMIRA, JONAS, account

pytestmark = [pytest.mark.feature("FLOW-4"), pytest.mark.feature("TOOL-6")]
LI = make_actor("00000000-0000-7000-8000-00000000000c", "li-wei", Role.ADMINISTRATOR)
TOOL = ApprovalRequest(
    kind=ApprovalKind.TOOL,
    title="Delete the file report.txt?",
    reason="it deletes, and text from outside is in the conversation",
    subject="tool:files__delete",
    data={"path": "report.txt"},
    conversation_id="0190a000-0000-7000-8000-0000000000c1",
)
YES = Decision(verdict=Verdict.APPROVE)
NO = Decision(verdict=Verdict.DENY)


@pytest.fixture
def vault(store: Store, tmp_path: Path) -> Vault:
    opened = Vault(store, Settings(data_dir=tmp_path, database_url=store.url.render_as_string(hide_password=False)))
    opened.open()
    return opened


@pytest.fixture
def inbox(store: Store, vault: Vault) -> Approvals:
    for actor in (AMIRA, JONAS, LI):
        account(store, actor)
    return Approvals(store, vault)


def test_a_request_waits_for_the_person_it_runs_for_and_for_nobody_else(inbox: Approvals) -> None:
    asked = inbox.ask(JONAS, TOOL)
    assert (asked.state, asked.data, asked.user_name) == (ApprovalState.WAITING, {"path": "report.txt"}, "jonas")
    assert [approval.id for approval in inbox.waiting(JONAS)] == [asked.id]
    assert (inbox.count(JONAS), inbox.count(LI), inbox.count(AMIRA)) == (1, 0, 0)
    assert [approval.id for approval in inbox.recent(AMIRA)] == [asked.id], "a super-admin sees all that waits"
    with pytest.raises(NotFound):
        inbox.get(LI, asked.id)
    with pytest.raises(NotFound):
        inbox.decide(LI, asked.id, YES)
    decided = inbox.decide(JONAS, asked.id, replace(YES, comment=" fine "))
    assert (decided.state, decided.comment, decided.decided_by_name) == (ApprovalState.APPROVED, "fine", "jonas")
    with pytest.raises(Conflict, match="approved by jonas"):
        inbox.decide(AMIRA, asked.id, NO)
    assert inbox.count(JONAS) == 0


@pytest.mark.parametrize(
    ("deciders", "who"),
    [
        (Deciders(people=(LI.user_id or "",)), {"li-wei", "amira"}),
        (Deciders(roles=(Role.ADMINISTRATOR,)), {"li-wei", "amira"}),
        (Deciders(roles=(Role.DEVELOPER,)), {"jonas", "amira"}),
        (Deciders(teams=(7,)), {"amira"}),
        (Deciders(people=(JONAS.user_id or "", LI.user_id or "")), {"jonas", "li-wei", "amira"}),
    ],
)
def test_people_roles_and_teams_decide(inbox: Approvals, deciders: Deciders, who: set[str]) -> None:
    def decides(actor: Actor) -> bool:
        approval = inbox.ask(JONAS, replace(TOOL, deciders=deciders))
        try:
            return inbox.decide(actor, approval.id, NO).state is ApprovalState.DENIED
        except (PermissionDenied, NotFound):
            return False

    assert {actor.name for actor in (JONAS, LI, AMIRA) if decides(actor)} == who


def test_whoever_asked_hears_of_a_decision_even_when_the_first_try_fails(inbox: Approvals, store: Store) -> None:
    heard: list[tuple[ApprovalState, Any]] = []
    is_broken = [True]

    def callback(approval: Approval) -> None:
        if is_broken[0]:
            raise OSError("the run's process was killed")
        heard.append((approval.state, approval.data))

    inbox.on_decision("tool", callback)
    first = inbox.ask(JONAS, TOOL)
    inbox.decide(JONAS, first.id, replace(YES, data={"path": "other.txt"}))
    assert heard == []
    assert inbox.get(JONAS, first.id).is_approved
    is_broken[0] = False
    later = utc_now() + timedelta(minutes=1)
    assert (inbox.tell_due(later), inbox.tell_due(later + timedelta(minutes=1))) == (1, 0)
    assert heard == [(ApprovalState.APPROVED, {"path": "other.txt"})]
    assert inbox.get(JONAS, first.id).is_edited


def test_a_decision_by_a_process_that_has_no_callback_is_told_by_one_that_has(
    inbox: Approvals, store: Store, vault: Vault
) -> None:
    heard: list[str] = []
    asked = inbox.ask(JONAS, TOOL)
    Approvals(store, vault).decide(JONAS, asked.id, NO)
    inbox.on_decision("tool", lambda approval: heard.append(approval.id))
    assert inbox.tell_due(utc_now() + timedelta(minutes=1)) == 1
    assert heard == [asked.id]


def test_two_who_decide_at_once_are_one_decision(inbox: Approvals) -> None:
    asked = inbox.ask(JONAS, TOOL)
    outcomes: list[str] = []

    def decide(verdict: Verdict) -> None:
        try:
            outcomes.append(inbox.decide(AMIRA, asked.id, Decision(verdict=verdict)).state)
        except Conflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=decide, args=(verdict,)) for verdict in Verdict]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcomes.remove("conflict")
    assert outcomes == [inbox.get(AMIRA, asked.id).state]


def test_standing_grants_hold_for_one_subject_and_one_person_until_revoked(inbox: Approvals) -> None:
    here = TOOL.conversation_id
    inbox.decide(JONAS, inbox.ask(JONAS, TOOL).id, replace(YES, scope=GrantScope.CONVERSATION))
    assert inbox.is_granted(JONAS.user_id, TOOL.subject, here)
    assert not inbox.is_granted(JONAS.user_id, TOOL.subject, "another")
    assert not inbox.is_granted(LI.user_id, TOOL.subject, here)
    for _ in range(2):
        inbox.decide(JONAS, inbox.ask(JONAS, TOOL).id, replace(YES, scope=GrantScope.ALWAYS))
    assert inbox.is_granted(JONAS.user_id, TOOL.subject)
    assert not inbox.is_granted(JONAS.user_id, "tool:files__write")
    assert inbox.standing(LI) == []
    always = next(grant for grant in inbox.standing(JONAS) if not grant.conversation_id)
    with pytest.raises(NotFound):
        inbox.revoke(LI, always.id)
    inbox.revoke(JONAS, always.id)
    assert not inbox.is_granted(JONAS.user_id, TOOL.subject)
    assert [grant.conversation_id for grant in inbox.standing(JONAS)] == [here]


def test_a_form_has_to_be_filled_as_its_schema_says(inbox: Approvals) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    asked = inbox.ask(JONAS, replace(TOOL, form_schema=schema))
    for answer in (None, {"n": "three"}, {}):
        with pytest.raises(InvalidInput):
            inbox.decide(JONAS, asked.id, replace(YES, data=answer))
    assert inbox.decide(JONAS, asked.id, replace(YES, data={"n": 3})).data == {"n": 3}
    assert inbox.decide(JONAS, inbox.ask(JONAS, replace(TOOL, form_schema=schema)).id, NO).data == TOOL.data


def test_deadline_and_escalation(inbox: Approvals, store: Store) -> None:
    heard: list[ApprovalState] = []
    inbox.on_decision("tool", lambda approval: heard.append(approval.state))
    now = utc_now()
    over = inbox.ask(JONAS, replace(TOOL, deadline=now - timedelta(seconds=1)))
    assert inbox.count(JONAS) == 0
    with pytest.raises(Conflict, match="too late"):
        inbox.decide(JONAS, over.id, YES)
    late = Escalation(now - timedelta(seconds=1), Deciders(roles=(Role.ADMINISTRATOR,)))
    escalated = inbox.ask(JONAS, replace(TOOL, escalation=late))
    early = inbox.ask(JONAS, replace(TOOL, escalation=replace(late, at=now + timedelta(hours=1))))
    assert {approval.id for approval in inbox.waiting(LI)} == {escalated.id}
    assert inbox.get(JONAS, early.id).escalation == replace(late, at=now + timedelta(hours=1))
    with store.write() as connection:
        installation.write(connection, "webhook", {"host": "https://example.test", "allow_private": False})
    assert (inbox.tell_due(), inbox.tell_due()) == (1, 0)
    assert heard == [ApprovalState.EXPIRED]
    assert inbox.get(JONAS, over.id).state is ApprovalState.EXPIRED
    with store.read() as connection:
        messages = connection.execute(select(webhook_outbox)).all()
    assert sorted(message.event for message in messages) == ["approval.decided", "approval.escalated"]
    assert "report.txt" not in str([message.body["approval"].get("data") for message in messages])


def test_data_is_sealed_bounded_and_erased_with_its_hash_kept(inbox: Approvals, store: Store, vault: Vault) -> None:
    asked = inbox.ask(JONAS, TOOL)

    def sealed() -> str | None:
        with store.read() as connection:
            return connection.scalar(select(approvals.c.sealed).where(approvals.c.id == asked.id))

    assert "report" not in (sealed() or "report")
    assert vault.reencrypt() >= 1
    assert inbox.get(JONAS, asked.id).data == TOOL.data
    inbox.end(LI, asked.id)
    assert inbox.get(JONAS, asked.id).is_waiting, "another's request is not theirs to end"
    inbox.end(JONAS, asked.id)
    ended = inbox.get(JONAS, asked.id)
    assert (ended.state, ended.data, sealed()) == (ApprovalState.WITHDRAWN, None, None)
    assert len(ended.data_hash) == 64
    assert ended.data_size == len('{"path":"report.txt"}')
    for data in ({"x": "y" * MOST_BYTES}, {"x": float("nan")}, {"x": object()}):
        with pytest.raises(InvalidInput):
            inbox.ask(JONAS, replace(TOOL, data=data))
    old = inbox.decide(JONAS, inbox.ask(JONAS, TOOL).id, NO)
    with store.write() as connection:
        long_ago = {"decided_at": utc_now() - timedelta(days=8), "tell_after": None}
        connection.execute(update(approvals).where(approvals.c.id == old.id).values(**long_ago))
    inbox.tell_due()
    assert inbox.get(JONAS, old.id).data is None


def test_a_question_with_a_key_is_asked_once(inbox: Approvals) -> None:
    keyed = replace(TOOL, kind=ApprovalKind.WORKFLOW, key="run-1/approve", workflow_run_id="run-1")
    first = inbox.ask(JONAS, keyed)
    assert inbox.ask(JONAS, keyed).id == first.id
    inbox.decide(JONAS, first.id, NO)
    assert inbox.ask(JONAS, keyed).state is ApprovalState.DENIED
