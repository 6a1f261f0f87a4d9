"""Statements about requests: whose they are, who may decide them, and rows as values."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, insert, or_, select, true

from lib.access.permissions import Actor, Role
from lib.approvals.approval import Approval, ApprovalKind, ApprovalState, Deciders, Escalation
from lib.db.tables import approval_deciders, approvals, users

_A = approvals.c
_D = approval_deciders.c


def select_requests() -> Select[Any]:
    """Select requests with the name of the person for whom they run."""
    return select(approvals, users.c.name.label("user_name")).outerjoin(users, users.c.id == _A.user_id)


def is_addressed_to(actor: Actor, now: datetime) -> ColumnElement[bool]:
    """Tell whether the actor, their role in the request's team, or a team of theirs is named to decide by now.

    A key without an owner is nobody of a role or a team: people are.
    """
    deciders = []
    if actor.key is None or actor.user_id != actor.key.key_id:
        deciders = [
            and_(_D.kind == "role", _D.value == actor.role.value, _A.team_id == actor.team_id),
            and_(_D.kind == "team", _D.value.in_([str(team) for team in actor.team_ids])),
        ]
    if actor.user_id is not None:
        deciders.append(and_(_D.kind == "person", _D.value == actor.user_id))
    return exists().where(_D.approval_id == _A.id, _D.since <= now, or_(*deciders))


def may_decide(actor: Actor, now: datetime) -> ColumnElement[bool]:
    """Tell whether the actor may decide a request: it is addressed to them, or they are a super-admin."""
    return true() if actor.role is Role.SUPER_ADMIN else is_addressed_to(actor, now)


def is_visible_to(actor: Actor, now: datetime) -> ColumnElement[bool]:
    """Tell whether the actor may see a request: their own, and those that they may decide."""
    return or_(_A.user_id == actor.user_id, may_decide(actor, now)) if actor.user_id else may_decide(actor, now)


def add_deciders(
    connection: Connection, approval_id: str, deciders: Deciders, escalation: Escalation | None, now: datetime
) -> None:
    """Note who may decide, at once and later."""
    since: dict[tuple[str, str], datetime] = {}
    if escalation is not None:
        since |= dict.fromkeys(_name_deciders(escalation.deciders), escalation.at)
    since |= dict.fromkeys(_name_deciders(deciders), now)
    rows = [
        {"approval_id": approval_id, "kind": kind, "value": value, "since": moment}
        for (kind, value), moment in since.items()
    ]
    if rows:
        connection.execute(insert(approval_deciders), rows)


def _name_deciders(deciders: Deciders) -> list[tuple[str, str]]:
    return [
        *(("person", person) for person in deciders.people),
        *(("role", role.value) for role in deciders.roles),
        *(("team", str(team)) for team in deciders.teams),
    ]


def build_approvals(connection: Connection, rows: Iterable[Any], read_data: Callable[[Any], Any]) -> list[Approval]:
    """Build values from rows of `select_requests`; `read_data` opens a row's data."""
    listed = [row._mapping for row in rows]
    deciders: dict[str, list[Any]] = defaultdict(list)
    query = select(approval_deciders).where(_D.approval_id.in_([row["id"] for row in listed]))
    for decider in connection.execute(query):
        deciders[decider.approval_id].append(decider)
    return [_build_approval(row, deciders[row["id"]], read_data(row)) for row in listed]


def _build_approval(row: Any, deciders: list[Any], data: Any) -> Approval:
    escalates_at = row["escalates_at"]
    later = [decider for decider in deciders if escalates_at is not None and decider.since >= escalates_at]
    skipped = ("kind", "state", "sealed", "request_key", "escalates_at", "escalated_at", "tell_after")
    return Approval(
        kind=ApprovalKind(row["kind"]),
        state=ApprovalState(row["state"]),
        data=data,
        deciders=_collect_deciders([decider for decider in deciders if decider not in later]),
        escalation=None if escalates_at is None else Escalation(escalates_at, _collect_deciders(later)),
        **{name: value for name, value in row.items() if name not in skipped},
    )


def _collect_deciders(rows: list[Any]) -> Deciders:
    values: dict[str, list[str]] = {"person": [], "role": [], "team": []}
    for row in rows:
        values[row.kind].append(row.value)
    return Deciders(
        tuple(sorted(values["person"])),
        tuple(Role(role) for role in sorted(values["role"])),
        tuple(sorted(int(team) for team in values["team"])),
    )
