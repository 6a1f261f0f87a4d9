"""The inbox of decisions: something that wants to act asks, people decide, and whoever asked is told.

A decision is committed before anybody hears of it. Whoever asks registers one callback for its kind (`on_decision`); it
runs in the process where the decision was taken, and again from the errand `tell_due` of any process that has it, until
it returns without an error: a process may be killed between the two, so a callback has to bear being called twice.
Deadlines and escalations are the errand's as well.

Data waits encrypted by the vault and is erased by `end`, or a week after the decision; its hash and size stay.
"""

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from lib.access import audit
from lib.access.permissions import OPERATOR, Actor, Permission, Role
from lib.approvals.approval import (
    LONGEST_TEXT,
    LONGEST_TITLE,
    Approval,
    ApprovalKind,
    ApprovalRequest,
    ApprovalState,
    Deciders,
    Decision,
    GrantScope,
    StandingGrant,
    Verdict,
    encode_data,
    hash_data,
    make_storable,
)
from lib.approvals.rows import (
    add_deciders,
    build_approvals,
    is_addressed_to,
    is_visible_to,
    may_decide,
    select_requests,
)
from lib.budgets import outbox
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import approval_grants, approvals, users
from lib.db.vault import Vault
from lib.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from lib.limited import rules
from lib.limited.child import NotComputed

log = logging.getLogger(__name__)
Callback = Callable[[Approval], object]
MOST_LISTED = 200
_KEEP_DATA = timedelta(days=7)
_TELL_AGAIN = timedelta(seconds=30)
_AT_ONCE = 50
_A = approvals.c
_G = approval_grants.c
_JOB = OPERATOR.with_origin("job")


class Approvals:
    """Asks, decides, lists and revokes. Thread-safe."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._callbacks: dict[str, Callback] = {}

    def on_decision(self, kind: ApprovalKind | str, callback: Callback) -> None:
        """Register what hears of every decision of a kind: approved, denied, expired. It may be called twice."""
        self._callbacks[ApprovalKind(kind)] = callback

    def ask(self, actor: Actor, request: ApprovalRequest) -> Approval:
        """Ask for a decision about something that would run for the actor; returns at once, waiting.

        A request whose key was used before returns that one, whatever became of it. Raises InvalidInput for data that
        is no JSON or larger than 256 kB.
        """
        actor.require(Permission.TEST_CONFIGS)
        text = encode_data(request.data)
        encode_data(request.form_schema, "form_schema")
        now = utc_now()
        with self._store.write() as connection:
            if request.key and (earlier := self._read_one(connection, _A.request_key == request.key)) is not None:
                return earlier
            approval_id = make_id()
            row = self._build_row(connection, actor, request, approval_id, text, now)
            statement = (sqlite if self._store.is_sqlite else postgresql).insert(approvals).values(**row)
            statement = statement.on_conflict_do_nothing(index_elements=["request_key"])
            if connection.scalar(statement.returning(_A.id)) is None:
                return self._get_row(connection, _A.request_key == request.key)  # another process was quicker
            deciders = request.deciders or _choose_deciders(actor)
            add_deciders(connection, approval_id, deciders, request.escalation, now)
            approval = self._get_row(connection, _A.id == approval_id)
            outbox.enqueue(connection, "approval.waiting", _describe(approval), now)
        return approval

    def decide(self, actor: Actor, approval_id: str, decision: Decision) -> Approval:
        """Approve or deny; whoever asked is told after the commit.

        Raises NotFound, PermissionDenied (seen, but for others to decide), Conflict (decided, or over), InvalidInput.
        """
        actor.require(Permission.TEST_CONFIGS)
        _check_decision(decision)
        approval = self.get(actor, approval_id)
        self._check_answer(approval, decision)
        now = utc_now()
        with self._store.write() as connection:
            if not connection.scalar(select(_A.id).where(_A.id == approval_id, may_decide(actor, now))):
                raise PermissionDenied("You can't decide this.", "It is for others to decide.", "Ask one of them.")
            values = self._build_decision(connection, actor, decision, now)
            open_row = (_A.id == approval_id, _A.state == ApprovalState.WAITING, _is_open(now))
            if connection.execute(update(approvals).where(*open_row).values(**values)).rowcount != 1:
                raise _explain_conflict(self._get_row(connection, _A.id == approval_id))
            approval = self._get_row(connection, _A.id == approval_id)
            if decision.verdict is Verdict.APPROVE and decision.scope is not GrantScope.ONCE:
                _add_grant(connection, actor, approval, decision.scope, now)
            subject = f"approval {approval.title}"
            audit.record(
                connection,
                actor,
                f"approval.{decision.verdict.value}",
                subject,
                of_team=approval.team_id,
                id=approval.id,
                about=approval.subject,
                person=approval.user_name,
                scope=approval.scope,
            )
            outbox.enqueue(connection, "approval.decided", _describe(approval), now)
        self._tell(approval)
        return approval

    def get(self, actor: Actor, approval_id: str) -> Approval:
        """Get a request of the actor's own, or one that they may decide; raises NotFound."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            approval = self._read_one(connection, _A.id == approval_id, is_visible_to(actor, utc_now()))
        if approval is None:
            raise NotFound("There is no such request.", "It is not here, or it is for others to decide.")
        return approval

    def waiting(self, actor: Actor) -> list[Approval]:
        """List what waits for the actor's decision, the oldest first, at most 200."""
        actor.require(Permission.TEST_CONFIGS)
        return self._list(self._is_waiting_for(actor), newest_first=False)

    def count(self, actor: Actor) -> int:
        """Count what waits for the actor's decision."""
        actor.require(Permission.TEST_CONFIGS)
        query = select(func.count()).select_from(approvals).where(*self._is_waiting_for(actor))
        with self._store.read() as connection:
            return connection.scalar(query) or 0

    def recent(self, actor: Actor, states: tuple[ApprovalState, ...] = ()) -> list[Approval]:
        """List requests that the actor may see, the newest first, at most 200; `states` leaves others out."""
        actor.require(Permission.TEST_CONFIGS)
        state_filter = [_A.state.in_(states)] if states else []
        return self._list((is_visible_to(actor, utc_now()), *state_filter), newest_first=True)

    def end(self, actor: Actor, approval_id: str) -> bool:
        """Close a request of the actor's own: one that waits is withdrawn, and the data is erased; hash and size stay.

        For whoever asked, once the pause is over or its run was cancelled. Of several who end it at once one gets True.
        """
        actor.require(Permission.TEST_CONFIGS)
        with self._store.write() as connection:
            own = [_A.id == approval_id, *([] if actor.user_id is None else [_A.user_id == actor.user_id])]
            withdrawn = update(approvals).where(*own, _A.state == ApprovalState.WAITING)
            connection.execute(withdrawn.values(state=ApprovalState.WITHDRAWN, decided_at=utc_now()))
            erased = update(approvals).where(*own, _A.sealed.is_not(None)).values(sealed=None)
            return connection.execute(erased).rowcount == 1

    def is_granted(self, user_id: str | None, subject: str, conversation_id: str | None = None) -> bool:
        """Whether the subject runs for the person without a question: everywhere, or in this conversation."""
        if user_id is None or not subject:
            return False
        in_reach = _G.conversation_id.in_({"", conversation_id or ""})
        with self._store.read() as connection:
            query = select(_G.id).where(_G.user_id == user_id, _G.subject == subject, in_reach)
            return connection.scalar(query.limit(1)) is not None

    def standing(self, actor: Actor) -> list[StandingGrant]:
        """List what runs for the actor without a question, the newest first; a super-admin sees everybody's."""
        actor.require(Permission.TEST_CONFIGS)
        query = select(approval_grants, users.c.name.label("user_name")).outerjoin(users, users.c.id == _G.user_id)
        names = ("id", "user_id", "user_name", "subject", "conversation_id", "granted_by_name", "granted_at")
        with self._store.read() as connection:
            rows = connection.execute(query.where(*_limit_grants(actor)).order_by(_G.granted_at.desc(), _G.id.desc()))
            return [StandingGrant(**{name: getattr(row, name) for name in names}) for row in rows]

    def revoke(self, actor: Actor, grant_id: str) -> None:
        """Revoke a standing grant: the subject asks again from now on; raises NotFound."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.write() as connection:
            gone = delete(approval_grants).where(_G.id == grant_id, *_limit_grants(actor)).returning(_G.subject)
            subject = connection.scalar(gone)
            if subject is None:
                raise NotFound("There is no such grant.", "It was revoked, or it is somebody else's.")
            audit.record(connection, actor, "approval.revoke", f"grant {subject}")

    def tell_due(self, now: datetime | None = None) -> int:
        """Do what time asks for: expire, escalate, tell decisions again, erase; how many were told. For an errand."""
        moment = now or utc_now()
        if self._has_due(moment):
            self._expire(moment)
            self._escalate(moment)
            with self._store.write() as connection:
                old = [_A.decided_at < moment - _KEEP_DATA, _A.sealed.is_not(None), _A.tell_after.is_(None)]
                connection.execute(update(approvals).where(*old).values(sealed=None))
        return sum(self._tell(approval) for approval in self._claim_untold(moment))

    def _is_waiting_for(self, actor: Actor) -> tuple[ColumnElement[bool], ...]:
        now = utc_now()
        return (_A.state == ApprovalState.WAITING, _is_open(now), is_addressed_to(actor, now))

    def _list(self, conditions: tuple[ColumnElement[bool], ...], *, newest_first: bool) -> list[Approval]:
        order = (_A.asked_at.desc(), _A.id.desc()) if newest_first else (_A.asked_at, _A.id)
        with self._store.read() as connection:
            rows = connection.execute(select_requests().where(*conditions).order_by(*order).limit(MOST_LISTED)).all()
            return build_approvals(connection, rows, self._open_data)

    def _read_one(self, connection: Connection, *conditions: ColumnElement[bool]) -> Approval | None:
        rows = connection.execute(select_requests().where(*conditions)).all()
        return next(iter(build_approvals(connection, rows, self._open_data)), None)

    def _get_row(self, connection: Connection, condition: ColumnElement[bool]) -> Approval:
        approval = self._read_one(connection, condition)
        if approval is None:
            raise NotFound("There is no such request.", "It is not here any more.")
        return approval

    def _open_data(self, row: Any) -> Any:
        return None if row["sealed"] is None else json.loads(self._vault.decrypt(row["sealed"]))

    def _build_row(
        self, connection: Connection, actor: Actor, request: ApprovalRequest, approval_id: str, text: str, now: datetime
    ) -> dict[str, Any]:
        copied_fields = (
            "subject",
            "team_id",
            "conversation_id",
            "call_id",
            "workflow_run_id",
            "workflow_step",
            "deadline",
        )
        return {
            "id": approval_id,
            "kind": request.kind,
            "state": ApprovalState.WAITING,
            "request_key": request.key or None,
            "title": make_storable(request.title[:LONGEST_TITLE]),
            "reason": make_storable(request.reason[:LONGEST_TEXT]),
            "user_id": actor.user_id,
            "sealed": self._vault.encrypt(text, within=connection),
            "data_hash": hash_data(text),
            "data_size": len(text.encode()),
            "form_schema": None if request.form_schema is None else dict(request.form_schema),
            "asked_at": now,
            "escalates_at": request.escalation and request.escalation.at,
            "is_edited": False,
            "comment": "",
            **{name: getattr(request, name) for name in copied_fields},
        }

    def _build_decision(
        self, connection: Connection, actor: Actor, decision: Decision, now: datetime
    ) -> dict[str, Any]:
        is_approval = decision.verdict is Verdict.APPROVE
        edited: dict[str, Any] = {}
        if decision.data is not None:
            edited = {"is_edited": True, "sealed": self._vault.encrypt(encode_data(decision.data), within=connection)}
        return {
            "state": ApprovalState.APPROVED if is_approval else ApprovalState.DENIED,
            "decided_at": now,
            "decided_by": actor.user_id,
            "decided_by_name": actor.name[:80],
            "scope": decision.scope if is_approval else "",
            "comment": make_storable(decision.comment.strip()),
            "tell_after": now + _TELL_AGAIN,
            **edited,
        }

    def _check_answer(self, approval: Approval, decision: Decision) -> None:
        """Raise InvalidInput unless an approval answers the request's form, where it has one."""
        if decision.verdict is Verdict.DENY or not approval.is_waiting:
            return
        if decision.scope is GrantScope.CONVERSATION and not approval.conversation_id:
            raise InvalidInput(
                "There is no conversation to approve it for.", "", "Approve it once or always.", field="scope"
            )
        if decision.scope is not GrantScope.ONCE and not (approval.subject and approval.user_id):
            raise InvalidInput("This can be approved once only.", "It names no subject.", "", field="scope")
        if approval.form_schema is None:
            return
        if decision.data is None:
            raise InvalidInput("The form is not filled.", "It asks for an answer.", "Fill it.", field="data")
        try:
            errors = rules.list_schema_errors(approval.form_schema, encode_data(decision.data))
        except NotComputed as error:
            raise InvalidInput("The answer can't be checked.", str(error), "Deny it instead.", field="data") from error
        if errors:
            raise InvalidInput("The answer does not fit the form.", f"{errors[0]}.", "Correct it.", field="data")

    def _tell(self, approval: Approval) -> bool:
        """Tell whoever asked; False where nobody here listens, or the callback failed: the errand tells it again."""
        callback = self._callbacks.get(approval.kind)
        if callback is None:
            return False
        try:
            callback(approval)
        except Exception:  # the decision stands whatever becomes of its callback
            log.exception("The decision %s could not be told; it is told again.", approval.id)
            return False
        with self._store.write() as connection:
            connection.execute(update(approvals).where(_A.id == approval.id).values(tell_after=None))
        return True

    def _has_due(self, now: datetime) -> bool:
        is_waiting = _A.state == ApprovalState.WAITING
        over = is_waiting & (_A.deadline <= now)
        late = is_waiting & (_A.escalates_at <= now) & _A.escalated_at.is_(None)
        old = (_A.decided_at < now - _KEEP_DATA) & _A.sealed.is_not(None)
        with self._store.read() as connection:
            return connection.scalar(select(_A.id).where(or_(over, late, old)).limit(1)) is not None

    def _expire(self, now: datetime) -> None:
        with self._store.write() as connection:
            over = update(approvals).where(_A.state == ApprovalState.WAITING, _A.deadline <= now)
            values = {"state": ApprovalState.EXPIRED, "decided_at": now, "tell_after": now}
            for approval_id in connection.scalars(over.values(**values).returning(_A.id)).all():
                approval = self._get_row(connection, _A.id == approval_id)
                audit.record(connection, _JOB, "approval.expire", f"approval {approval.title}", id=approval_id)
                outbox.enqueue(connection, "approval.decided", _describe(approval), now)

    def _escalate(self, now: datetime) -> None:
        late = (_A.state == ApprovalState.WAITING, _A.escalates_at <= now, _A.escalated_at.is_(None))
        with self._store.write() as connection:
            ids = connection.scalars(update(approvals).where(*late).values(escalated_at=now).returning(_A.id)).all()
            for approval_id in ids:
                outbox.enqueue(
                    connection, "approval.escalated", _describe(self._get_row(connection, _A.id == approval_id)), now
                )

    def _claim_untold(self, now: datetime) -> list[Approval]:
        """Take decisions that nobody was told in time, so that no other process tells them while this one does."""
        due = (_A.tell_after <= now, _A.kind.in_(list(self._callbacks)))
        with self._store.read() as connection:
            if not self._callbacks or connection.scalar(select(_A.id).where(*due).limit(1)) is None:
                return []
        with self._store.write() as connection:
            ids = connection.scalars(select(_A.id).where(*due).limit(_AT_ONCE).with_for_update(skip_locked=True)).all()
            connection.execute(update(approvals).where(_A.id.in_(ids)).values(tell_after=now + _TELL_AGAIN))
            return [self._get_row(connection, _A.id == approval_id) for approval_id in ids]


def _choose_deciders(actor: Actor) -> Deciders:
    return Deciders(people=(actor.user_id,)) if actor.user_id is not None else Deciders(roles=(Role.SUPER_ADMIN,))


def _is_open(now: datetime) -> ColumnElement[bool]:
    return or_(_A.deadline.is_(None), _A.deadline > now)


def _check_decision(decision: Decision) -> None:
    if len(decision.comment) > LONGEST_TEXT:
        raise InvalidInput(
            "The comment is too long.", f"At most {LONGEST_TEXT:,} signs are kept.", "Shorten it.", field="comment"
        )
    if decision.verdict is Verdict.DENY and decision.data is not None:
        raise InvalidInput("Data can't be edited when it is denied.", "", "Leave it out, or approve.", field="data")
    if decision.data is not None:
        encode_data(decision.data)


def _explain_conflict(approval: Approval) -> Conflict:
    if approval.is_waiting:
        return Conflict("It is too late to decide this.", "Its deadline is over.")
    by = f" by {approval.decided_by_name}" if approval.decided_by_name else ""
    return Conflict("This has been decided.", f"It was {approval.state.value}{by}.")


def _add_grant(connection: Connection, actor: Actor, approval: Approval, scope: GrantScope, now: datetime) -> None:
    conversation_id = (approval.conversation_id or "") if scope is GrantScope.CONVERSATION else ""
    same_grant = (_G.user_id == approval.user_id, _G.subject == approval.subject, _G.conversation_id == conversation_id)
    if connection.scalar(select(_G.id).where(*same_grant)) is not None:
        return
    row = {
        "id": make_id(),
        "user_id": approval.user_id,
        "team_id": approval.team_id,
        "subject": approval.subject,
        "conversation_id": conversation_id,
        "approval_id": approval.id,
        "granted_by_name": actor.name[:80],
        "granted_at": now,
    }
    connection.execute(insert(approval_grants), row)


def _limit_grants(actor: Actor) -> list[ColumnElement[bool]]:
    return [] if actor.role is Role.SUPER_ADMIN else [_G.user_id == actor.user_id]


def _describe(approval: Approval) -> dict[str, Any]:
    """Describe a request for the webhook: without its data, and without a comment."""
    names = ("id", "kind", "state", "title", "reason", "subject", "workflow_run_id", "workflow_step")
    description: dict[str, Any] = {name: getattr(approval, name) for name in names}
    description |= {"for": approval.user_name, "decided_by": approval.decided_by_name or None, "scope": approval.scope}
    description["deadline"] = approval.deadline.isoformat() if approval.deadline else None
    return {"approval": description, "at": utc_now().isoformat()}
