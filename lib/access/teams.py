"""Teams: who is in them, with which role, and what belongs to them.

A team's administrators rule its people, and nothing else: they add whom they know by name, give roles in their team and
take people out of it. Making, renaming and emptying teams, and moving things between them, is for super-admins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from lib.access import audit
from lib.access.grants import Limits
from lib.access.membership import choose_team, join_team
from lib.access.permissions import Actor, Role
from lib.access.team_choices import TEAM_ROLES
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import (
    ALL_TEAMS,
    FIRST_TEAM,
    api_keys,
    budgets,
    collections,
    configurations,
    mcp_servers,
    overrides,
    prompt_templates,
    team_members,
    teams,
    tools,
    users,
    workflow_schedules,
    workflow_webhooks,
    workflows,
)
from lib.errors import Conflict, InvalidInput, NotFound
from lib.patterns import compile_pattern

_T = teams.c
_M = team_members.c
_SLUG = compile_pattern(r"[a-z0-9][a-z0-9._\-]{0,79}")
_OTHER_SIGNS = compile_pattern(r"[^a-z0-9]+")
THINGS: dict[str, tuple[Table, str, str]] = {  # kind → its table, its key, and the column that names it to people
    "configuration": (configurations, "id", "slug"),
    "prompt": (prompt_templates, "id", "slug"),
    "override": (overrides, "id", "name"),
    "collection": (collections, "id", "name"),
    "workflow": (workflows, "id", "slug"),
    "tool": (tools, "name", "name"),  # those over HTTP; a server's go with their server
    "server": (mcp_servers, "id", "name"),
}
_OF_WORKFLOWS = (workflow_schedules, workflow_webhooks)  # they follow their workflow
OWNED = (  # what keeps a team from going; of tools those over HTTP alone
    *(table for table, *_ in THINGS.values() if table is not tools),
    *(budgets, *_OF_WORKFLOWS),
)


@dataclass(frozen=True)
class Team:
    """A team and how many people and working keys it has."""

    id: int
    slug: str
    name: str
    limits: Limits
    created_at: datetime
    members: int
    keys: int


@dataclass(frozen=True)
class Member:
    """A person in a team. `role` is the one that holds there; `own_role` what the team says, None: the account's."""

    user_id: str
    name: str
    role: Role
    own_role: Role | None
    is_active: bool


class Teams:
    """The teams of the installation."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self, actor: Actor) -> Sequence[Team]:
        """List the teams of which the actor is a member, for a super-admin all; the first one first, then by name."""
        query = select(teams).order_by((_T.id == FIRST_TEAM).desc(), func.lower(_T.name))
        if not actor.sees_every_team:
            query = query.where(_T.id.in_(actor.team_ids))
        with self._store.read() as connection:
            members = _count(connection, team_members, _M.user_id.is_not(None))
            keys = _count(connection, api_keys, api_keys.c.revoked_at.is_(None))
            return [_build_team(row, members, keys) for row in connection.execute(query)]

    def get(self, actor: Actor, slug: str) -> Team:
        """Get a team of the actor's by its slug or id; raises NotFound."""
        for team in self.list(actor):
            if slug in (team.slug, str(team.id)):
                return team
        raise _make_not_found()

    def names(self) -> dict[str, str]:
        """Team id, as text, → name, as figures are labelled (internal: filters show only what an actor may see)."""
        with self._store.read() as connection:
            return {str(row.id): row.name for row in connection.execute(select(_T.id, _T.name))}

    def create(self, actor: Actor, name: str, slug: str = "") -> Team:
        """Make an empty team; without `slug` its name gives one."""
        actor.require_super_admin("make teams")
        row = {"slug": _check_slug(slug or _make_slug(name)), "name": _check_name(name), "created_at": utc_now()}
        try:
            with self._store.write() as connection:
                team_id = connection.scalar(insert(teams).values(**row).returning(_T.id))
                audit.record(connection, actor, "team.create", str(row["slug"]), of_team=team_id)
        except IntegrityError as error:
            raise Conflict(
                f"The name {row['slug']} is taken.", "Another team has it.", "Choose another one."
            ) from error
        return self.get(actor, str(team_id))

    def rename(self, actor: Actor, team_id: int, name: str) -> None:
        """Give a team another name; its slug stays."""
        actor.require_team_administrator(team_id, "rename this team")
        with self._store.write() as connection:
            changed = update(teams).where(_T.id == team_id).values(name=_check_name(name)).returning(_T.slug)
            if (slug := connection.scalar(changed)) is None:
                raise _make_not_found()
            audit.record(connection, actor, "team.rename", slug, of_team=team_id, name=name.strip())

    def delete(self, actor: Actor, team_id: int) -> None:
        """Remove a team that nobody is in and nothing belongs to; its calls stay, the first team can't go."""
        actor.require_super_admin("remove teams")
        if team_id == FIRST_TEAM:
            raise Conflict("The first team can't be removed.", "", "Rename it.")
        with self._store.write() as connection:
            slug = _lock_team(connection, team_id)
            if connection.scalar(select(_M.user_id).where(_M.team_id == team_id).limit(1)) is not None:
                raise Conflict("The team has members.", "", "Take them out of it first.")
            working_key = select(api_keys.c.id).where(api_keys.c.team_id == team_id, api_keys.c.revoked_at.is_(None))
            owned = [select(table.c.team_id).where(table.c.team_id == team_id) for table in OWNED]
            owned += [working_key, select(tools.c.name).where(tools.c.team_id == team_id, tools.c.source == "http")]
            if any(connection.scalar(query.limit(1)) is not None for query in owned):
                raise Conflict("Things belong to the team.", "", "Move them to another team, or delete them.")
            connection.execute(delete(teams).where(_T.id == team_id))
            audit.record(connection, actor, "team.delete", slug, of_team=team_id)

    def members(self, actor: Actor, team_id: int) -> Sequence[Member]:
        """List who is in a team of the actor's, by name; raises NotFound."""
        if team_id not in actor.team_ids and not actor.sees_every_team:
            raise _make_not_found()
        query = (
            select(users.c.id, users.c.name, users.c.role, users.c.is_active, _M.role.label("own_role"))
            .join(team_members, _M.user_id == users.c.id)
            .where(_M.team_id == team_id)
            .order_by(users.c.name_key)
        )
        with self._store.read() as connection:
            return [_build_member(row) for row in connection.execute(query)]

    def add(self, actor: Actor, team_id: int, name: str, role: Role | str | None = None) -> None:
        """Add a person who has an account, by name; `role` None leaves them that of their account."""
        actor.require_team_administrator(team_id, "add people to this team")
        team_role = _parse_team_role(role)
        try:
            with self._store.write() as connection:
                slug = _lock_team(connection, team_id)
                by_name = select(users.c.id, users.c.name).where(users.c.name_key == name.strip().casefold())
                person = connection.execute(by_name).one_or_none()
                if person is None:
                    raise NotFound(f"Nobody is called {name[:80]}.", "", "Invite them with a link.")
                join_team(connection, person.id, team_id, team_role)
                detail = {"person": person.name, "role": team_role}
                audit.record(connection, actor, "team.add", slug, of_team=team_id, **detail)
        except IntegrityError as error:
            raise Conflict(f"{name.strip()} is a member already.", "", "Change their role instead.") from error

    def set_role(self, actor: Actor, team_id: int, user_id: str, role: Role | str | None) -> None:
        """Give a member another role in this team; None gives them that of their account."""
        actor.require_team_administrator(team_id, "change roles in this team")
        team_role = _parse_team_role(role)
        with self._store.write() as connection:
            slug = _lock_team(connection, team_id)
            name = _find_member(connection, team_id, user_id)
            _refuse_own(actor, user_id, "change your own role")
            is_member = (_M.team_id == team_id, _M.user_id == user_id)
            connection.execute(update(team_members).where(*is_member).values(role=team_role))
            audit.record(connection, actor, "team.role", slug, of_team=team_id, person=name, role=team_role)

    def remove(self, actor: Actor, team_id: int, user_id: str) -> None:
        """Take a person out of a team: what is theirs stays the team's, and their keys for it stop within seconds."""
        actor.require_team_administrator(team_id, "take people out of this team")
        with self._store.write() as connection:
            slug = _lock_team(connection, team_id)
            name = _find_member(connection, team_id, user_id)
            _refuse_own(actor, user_id, "take yourself out")
            connection.execute(delete(team_members).where(_M.team_id == team_id, _M.user_id == user_id))
            audit.record(connection, actor, "team.remove", slug, of_team=team_id, person=name)

    def choose(self, actor: Actor, team_id: int) -> None:
        """Act in another of one's teams from now on."""
        with self._store.write() as connection:
            choose_team(connection, actor, team_id)

    def move(self, actor: Actor, kind: str, name: str, team_id: int) -> None:
        """Give a thing (`THINGS`, by its id or name) to another team, or with 0 to all teams."""
        actor.require_super_admin("move things between teams")
        if kind not in THINGS:
            raise InvalidInput(f"There is no kind {kind[:40]}.", "", f"Use {', '.join(THINGS)}.", field="kind")
        table, key, label = THINGS[kind]
        with self._store.write() as connection:
            slug = "all teams" if team_id == ALL_TEAMS else _lock_team(connection, team_id)
            is_named = (table.c[key] == name) | (table.c[label] == name)
            if table is tools:
                is_named &= table.c.source == "http"
            query = select(table.c[key].label("key"), table.c[label].label("label")).where(is_named)
            rows = connection.execute(query).all()
            if len(rows) != 1:
                raise NotFound(f"There is no one {kind} {name[:80]}.", "", "Look at its page, and give its id.")
            values: dict[str, Any] = {"team_id": team_id}
            if kind == "configuration":
                values |= {"is_default": False, "is_global_default": False}
            if kind == "server":  # whoever keeps servers in memory reads them again
                values["updated_at"] = utc_now()
            connection.execute(update(table).where(table.c[key] == rows[0].key).values(**values))
            _move_parts(connection, kind, rows[0], team_id)
            audit.record(connection, actor, f"{kind}.move", rows[0].label, of_team=team_id, to=slug)


def _move_parts(connection: Connection, kind: str, moved: Any, team_id: int) -> None:
    """Move what goes with it: what begins a workflow's runs, which acts in one team; what is set on a server's
    tools.
    """
    if kind == "workflow" and team_id != ALL_TEAMS:
        for part in _OF_WORKFLOWS:
            connection.execute(update(part).where(part.c.workflow_id == moved.key).values(team_id=team_id))
    if kind == "server":
        prefix = f"{moved.label}__"
        is_its = (tools.c.source == "mcp", func.substr(tools.c.name, 1, len(prefix)) == prefix)
        connection.execute(update(tools).where(*is_its).values(team_id=team_id))


def require_role_in(actor: Actor, team_id: int) -> None:
    """Raise NotFound for a team that is not the actor's."""
    if team_id not in actor.team_ids and not actor.sees_every_team:
        raise _make_not_found()


def _build_team(row: Any, members: dict[int, int], keys: dict[int, int]) -> Team:
    limits = Limits(row.requests_per_minute, row.tokens_per_minute)
    return Team(row.id, row.slug, row.name, limits, row.created_at, members.get(row.id, 0), keys.get(row.id, 0))


def _build_member(row: Any) -> Member:
    own_role = None if row.own_role is None else Role(row.own_role)
    account_role = Role(row.role)
    role = account_role if account_role is Role.SUPER_ADMIN else own_role or account_role
    return Member(row.id, row.name, role, own_role, row.is_active)


def _count(connection: Connection, table: Table, condition: Any) -> dict[int, int]:
    query = select(table.c.team_id, func.count()).where(condition).group_by(table.c.team_id)
    return {team_id: count for team_id, count in connection.execute(query)}


def _lock_team(connection: Connection, team_id: int) -> str:
    slug = connection.scalar(select(_T.slug).where(_T.id == team_id).with_for_update())
    if slug is None:
        raise _make_not_found()
    return str(slug)


def _find_member(connection: Connection, team_id: int, user_id: str) -> str:
    is_member = (_M.team_id == team_id, _M.user_id == user_id, users.c.id == _M.user_id)
    name = connection.scalar(select(users.c.name).where(*is_member))
    if name is None:
        raise NotFound("There is no such member.", "They are not in this team.")
    return str(name)


def _refuse_own(actor: Actor, user_id: str, action: str) -> None:
    if user_id == actor.user_id and not actor.sees_every_team:
        raise Conflict(f"You can't {action}.", "The team would lose an administrator.", "Ask another one.")


def _parse_team_role(role: Role | str | None) -> Role | None:
    if not role:
        return None
    if role in TEAM_ROLES:
        return Role(role)
    why = f"In a team the roles are {', '.join(TEAM_ROLES)}."
    raise InvalidInput(f"{str(role)[:40]} is no role in a team.", why, field="role")


def _check_name(name: str) -> str:
    name = " ".join(name.split())
    if 0 < len(name) <= 80 and name.isprintable():
        return name
    raise InvalidInput("The team needs a name.", "Of 1 to 80 signs.", field="name")


def _check_slug(slug: str) -> str:
    if _SLUG.fullmatch(slug) and not slug.isdecimal():
        return slug
    why = f"{slug[:40]!r} must be lower-case letters, digits, dots, dashes or underscores, at most 80."
    raise InvalidInput("The short name can't be used.", why, "Write it like research.", field="slug")


def _make_slug(name: str) -> str:
    return _OTHER_SIGNS.sub("-", name.strip().lower()).strip("-")[:80]


def list_role_words() -> Sequence[tuple[Role, str]]:
    """Say what each role lets a member do in a team."""
    return (
        (Role.TEAM_ADMINISTRATOR, "Rules the team: its people, budget, limits and keys, and all that is the team's."),
        (Role.MASTER_DEVELOPER, "Makes, changes and deletes the team's configurations, prompts, tools and workflows."),
        (Role.DEVELOPER, "Makes and changes them, and calls models; deletes nothing of others."),
        (Role.ADMINISTRATOR, "Looks at configurations and figures, calls models, keeps the knowledge base."),
    )


def _make_not_found() -> NotFound:
    return NotFound("There is no such team.", "It does not exist, or you are no member of it.")
