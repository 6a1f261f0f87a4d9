"""Who acts: a person's account and memberships, read together into an actor in the team that they chose last."""

from sqlalchemy import Connection, insert, select, update

from lib.access.permissions import Actor, Role, make_actor
from lib.clock import utc_now
from lib.db.tables import team_members, teams, users
from lib.errors import NotFound

_M = team_members.c


def find_person(connection: Connection, user_id: str, team_id: int | None = None) -> Actor | None:
    """Find the actor of an active account, in a team or else in the one chosen last; None without such an account.

    None also for who does not belong to the team `team_id`; super-admins belong to every team.
    """
    query = (
        select(users.c.name, users.c.role, users.c.team_id, _M.team_id.label("membership"), _M.role.label("team_role"))
        .join(team_members, _M.user_id == users.c.id, isouter=True)
        .where(users.c.id == user_id, users.c.is_active)
    )
    rows = connection.execute(query).all()
    if not rows:
        return None
    memberships = {row.membership: row.team_role and Role(row.team_role) for row in rows if row.membership is not None}
    chosen_team = rows[0].team_id if team_id is None else team_id
    actor = make_actor(user_id, rows[0].name, Role(rows[0].role), memberships, chosen_team)
    return None if team_id is not None and actor.team_id != team_id else actor


def join_team(connection: Connection, user_id: str, team_id: int, role: Role | None = None) -> None:
    """Make a person a member of a team; with a role of their own there, or with that of their account."""
    row = {"team_id": team_id, "user_id": user_id, "role": role and role.value, "created_at": utc_now()}
    connection.execute(insert(team_members), row)


def choose_team(connection: Connection, actor: Actor, team_id: int) -> None:
    """Act in another of one's teams from now on; NotFound for a team that is not the person's."""
    if team_id not in actor.team_ids and not (
        actor.sees_every_team and connection.scalar(select(teams.c.id).where(teams.c.id == team_id))
    ):
        raise NotFound("There is no such team.", "It does not exist, or you are no member of it.")
    connection.execute(update(users).where(users.c.id == actor.user_id).values(team_id=team_id))
