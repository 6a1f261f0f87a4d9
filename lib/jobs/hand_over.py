"""Handing over what a person has: one action, one entry in the audit log.

What runs by itself runs as somebody: keys, documents that are read, studies. When that person is switched off or leaves
the team it pauses, and goes on once somebody else has it. Super-admins hand over anything to anybody who is in the
teams concerned; who administers a team takes over what is of the team, but no conversations: words are not handed to
who may not read them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, and_, select, true, update

from lib.access import audit
from lib.access.membership import find_person
from lib.access.permissions import Actor, Role
from lib.db.engine import Store
from lib.db.tables import (
    api_keys,
    collections,
    conversation_files,
    conversation_summaries,
    conversations,
    documents,
    experiments,
    mcp_servers,
    messages,
    playground_runs,
    saved_views,
    studies,
    team_members,
    tools,
    users,
    workflow_runs,
    workflow_schedules,
    workflow_webhooks,
    workflows,
)
from lib.errors import Conflict, NotFound, PermissionDenied

_THINGS: Mapping[str, tuple[Table, Column[Any]]] = {
    "keys": (api_keys, api_keys.c.user_id),
    "collections": (collections, collections.c.owner_id),
    "saved views": (saved_views, saved_views.c.user_id),
    "tools": (tools, tools.c.owner_id),
    "servers of tools": (mcp_servers, mcp_servers.c.user_id),
    "workflows": (workflows, workflows.c.user_id),
    "schedules": (workflow_schedules, workflow_schedules.c.user_id),
    "webhooks": (workflow_webhooks, workflow_webhooks.c.user_id),
}
_PRIVATE: Mapping[str, tuple[Table, Column[Any]]] = {
    "experiments": (experiments, experiments.c.user_id),
    "workflow runs": (workflow_runs, workflow_runs.c.user_id),
    "playground runs": (playground_runs, playground_runs.c.user_id),
    "conversations": (conversations, conversations.c.owner_id),
}
_IN_COLLECTIONS = (documents, studies)
_IN_CONVERSATIONS = (messages, conversation_files, conversation_summaries)


class HandOver:
    """Gives the things of one person to another."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def preview(self, actor: Actor, from_id: str, team_id: int | None = None) -> Mapping[str, int]:
        """Count what a person has, by kind; in one team, or for a super-admin in all."""
        condition = _reach(actor, team_id)
        with self._store.read() as connection:
            counts = {
                kind: len(connection.scalars(select(owner).where(owner == from_id, condition(table))).all())
                for kind, (table, owner) in _select_kinds(actor).items()
            }
        return {kind: count for kind, count in counts.items() if count}

    def run(self, actor: Actor, from_id: str, to_id: str, team_id: int | None = None) -> Mapping[str, int]:
        """Give everything of one person to another; how much that was, by kind."""
        condition = _reach(actor, team_id)
        if not actor.sees_every_team and to_id != actor.user_id:
            raise PermissionDenied(
                "You can't hand things to others.", "Keys act as whoever has them.", "Take them over yourself."
            )
        if from_id == to_id:
            raise Conflict("They have it already.", "", "Choose somebody else.")
        with self._store.write() as connection:
            query = select(users.c.id, users.c.name).where(users.c.id.in_((from_id, to_id)))
            names = {row.id: row.name for row in connection.execute(query)}
            if from_id not in names:
                raise NotFound("There is no such user.")
            self._check_receiver(connection, actor, from_id, to_id, condition)
            moved = _move_children(connection, actor, from_id, to_id, condition)
            for kind, (table, owner) in _select_kinds(actor).items():
                changed = update(table).where(owner == from_id, condition(table)).values({owner: to_id})
                moved[kind] = connection.execute(changed).rowcount
            counts = {kind: count for kind, count in moved.items() if count}
            if not (counts or actor.sees_every_team or _is_member(connection, from_id, actor.team_id)):
                raise NotFound("There is no such user.")
            detail: dict[str, Any] = {"to": names[to_id], "counts": counts}
            audit.record(connection, actor, "person.hand_over", names[from_id], of_team=team_id, **detail)
        return counts

    def _check_receiver(self, connection: Connection, actor: Actor, from_id: str, to_id: str, condition: Any) -> None:
        """Raise Conflict unless the receiver is active and in every team where something is handed over."""
        person = find_person(connection, to_id)
        if person is None:
            raise NotFound("There is no such active user.", "", "Choose another one.")
        if person.role is Role.SUPER_ADMIN:
            return
        teams_concerned = set[int]()
        for table, owner in _select_kinds(actor).values():
            teams_concerned.update(
                connection.scalars(select(table.c.team_id).where(owner == from_id, condition(table)).distinct())
            )
        member_of = set(connection.scalars(select(team_members.c.team_id).where(team_members.c.user_id == to_id)))
        if missing := teams_concerned - member_of - {0}:
            raise Conflict(
                f"{person.name} is not in every team concerned.",
                f"Things of {len(missing)} other {'team' if len(missing) == 1 else 'teams'} would be theirs.",
                "Add them to those teams first, or hand over one team at a time.",
            )


def _is_member(connection: Connection, user_id: str, team_id: int) -> bool:
    is_member = (team_members.c.user_id == user_id, team_members.c.team_id == team_id)
    return connection.scalar(select(team_members.c.user_id).where(*is_member)) is not None


def _select_kinds(actor: Actor) -> Mapping[str, tuple[Table, Column[Any]]]:
    return {**_THINGS, **_PRIVATE} if actor.sees_every_team else _THINGS


def _reach(actor: Actor, team_id: int | None) -> Any:
    """The condition on a table's rows that the actor may hand over; raises PermissionDenied."""
    if team_id is None and actor.sees_every_team:
        return lambda table: true()
    of_team = actor.team_id if team_id is None else team_id
    actor.require_team_administrator(of_team, "hand over things of this team")
    return lambda table: table.c.team_id == of_team


def _move_children(connection: Connection, actor: Actor, from_id: str, to_id: str, condition: Any) -> dict[str, int]:
    """Move what hangs on collections and conversations before these change hands."""
    moved = dict[str, int]()
    in_reach = select(collections.c.id).where(condition(collections))
    for table in _IN_COLLECTIONS:
        own = and_(table.c.created_by == from_id, table.c.collection_id.in_(in_reach))
        moved[table.name] = connection.execute(update(table).where(own).values(created_by=to_id)).rowcount
    if actor.sees_every_team:
        talks = select(conversations.c.id).where(conversations.c.owner_id == from_id, condition(conversations))
        for table in _IN_CONVERSATIONS:
            own_part: ColumnElement[bool] = and_(table.c.owner_id == from_id, table.c.conversation_id.in_(talks))
            connection.execute(update(table).where(own_part).values(owner_id=to_id))
    return moved


def list_kinds() -> Sequence[str]:
    """Name the kinds of things that change hands."""
    return (*_THINGS, *_PRIVATE)
