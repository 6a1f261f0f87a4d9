"""Whose a thing is, as a condition of SQL: every statement about things that belong to a team has one of these.

A thing belongs to one team or, with the team 0, to all. All may use what is of all; only super-admins change it.
"""

from typing import Any

from sqlalchemy import ColumnElement, and_, true

from lib.access.permissions import Actor
from lib.db.team_ids import ALL_TEAMS
from lib.errors import PermissionDenied


def filter_usable(actor: Actor, column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Things that the actor may see and use, by the column of their team: those of the chosen team and of all teams."""
    return true() if actor.sees_every_team else column.in_((ALL_TEAMS, actor.team_id))


def is_usable(actor: Actor, team_id: int) -> bool:
    """Whether the actor may see and use a thing of a team; for things that are kept in memory, as `filter_usable`."""
    return actor.sees_every_team or team_id in (ALL_TEAMS, actor.team_id)


def filter_changeable(actor: Actor, column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Things that the actor may change, where their permissions allow it: those of the chosen team."""
    return true() if actor.sees_every_team else column == actor.team_id


def filter_chosen_team(actor: Actor, column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Things that hold for what is done in the chosen team, also for super-admins: its own and those of all teams."""
    return column.in_((ALL_TEAMS, actor.team_id))


def filter_owned(actor: Actor, owner: ColumnElement[Any], team: ColumnElement[Any]) -> ColumnElement[bool]:
    """Things that are one person's own, of those made in the chosen team; the machine's operator owns them anywhere."""
    if actor.user_id is None:
        return owner.is_(None)
    return and_(owner == actor.user_id, team == actor.team_id)


def make_shared_refusal(name: str) -> PermissionDenied:
    """Make the error for who would change a thing of all teams without being a super-admin."""
    return PermissionDenied(
        f"You can't change {name}.", "It belongs to all teams.", "Ask a super-admin, or make one of your own team's."
    )


def require_team(actor: Actor) -> int:
    """Return the team that a new thing of the actor's belongs to; PermissionDenied for whom no team has as a member."""
    if actor.team_id <= ALL_TEAMS:
        raise PermissionDenied(
            "You can't make anything.", "No team has you as a member.", "Ask a team's administrator to add you."
        )
    return actor.team_id
