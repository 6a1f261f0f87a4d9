"""Links that let somebody in: an invitation makes an account in a team, a reset sets a new password.

Each works once and for a while; what stands in it is 256 random bits, of which the database keeps the hash alone.

Who administers a team invites into it, with a role of the team's; who is invited has an ordinary account and nothing
else. A reset is for super-admins to give, and ends the account's sessions when it is used.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from lib.access import audit
from lib.access.membership import find_person, join_team
from lib.access.passwords import check_password_rule, hash_password
from lib.access.permissions import Actor, Role
from lib.access.team_choices import TEAM_ROLES
from lib.access.users import build_row
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import access_links, sessions, teams, users
from lib.errors import Conflict, InvalidInput, NotFound

INVITATION = "invitation"
PASSWORD = "password"  # noqa: S105 (a kind of link)
INVITATION_LASTS = timedelta(days=7)
RESET_LASTS = timedelta(hours=24)
_L = access_links.c


@dataclass(frozen=True)
class AccessLink:
    """What a link is for. `name` is whose password it sets; empty for an invitation, whose guest chooses one."""

    kind: str
    name: str
    team: str
    role: str
    expires_at: datetime


class AccessLinks:
    """Makes links and takes them back."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def invite(self, actor: Actor, team_id: int, role: Role | str = Role.DEVELOPER) -> str:
        """Return the token of an invitation into a team; its link is `/link?token=TOKEN` at this installation."""
        actor.require_team_administrator(team_id, "invite people into this team")
        if role not in TEAM_ROLES:
            why = f"In a team the roles are {', '.join(TEAM_ROLES)}."
            raise InvalidInput(f"{str(role)[:40]} is no role in a team.", why, field="role")
        with self._store.write() as connection:
            slug = connection.scalar(select(teams.c.slug).where(teams.c.id == team_id))
            if slug is None:
                raise NotFound("There is no such team.")
            values = {"kind": INVITATION, "role": Role(role).value, "team_id": team_id}
            audit.record(connection, actor, "link.invite", slug, of_team=team_id, role=values["role"])
            return _insert(connection, actor, INVITATION_LASTS, values)

    def reset_password(self, actor: Actor, user_id: str) -> str:
        """Return the token of a link with which a person sets a new password."""
        actor.require_super_admin("reset passwords")
        with self._store.write() as connection:
            name = connection.scalar(select(users.c.name).where(users.c.id == user_id, users.c.is_active))
            if name is None:
                raise NotFound("There is no such active user.")
            audit.record(connection, actor, "link.password", name)
            return _insert(connection, actor, RESET_LASTS, {"kind": PASSWORD, "user_id": user_id})

    def look(self, token: str) -> AccessLink:
        """Say what a link is for; NotFound for one that is unknown, used or too old: all alike."""
        with self._store.read() as connection:
            row = _find(connection, token)
            name = connection.scalar(select(users.c.name).where(users.c.id == row.user_id)) or ""
            team = connection.scalar(select(teams.c.name).where(teams.c.id == row.team_id)) or ""
        return AccessLink(row.kind, name, team, row.role, row.expires_at)

    def accept(self, token: str, name: str, password: str, came_from: str | None = None) -> str:
        """Use a link, once: make the account of an invitation, or set the password; the person's id."""
        with self._store.read() as connection:
            kind = _find(connection, token).kind
            owner = "" if kind == INVITATION else self.look(token).name
        if kind == INVITATION:
            return self._make_account(token, name, password, came_from)
        check_password_rule(password, owner)
        hashed = hash_password(password)
        with self._store.write() as connection:
            row = _use(connection, token)
            connection.execute(update(users).where(users.c.id == row.user_id).values(password_hash=hashed))
            connection.execute(delete(sessions).where(sessions.c.user_id == row.user_id))
            other_links = (_L.kind == PASSWORD, _L.user_id == row.user_id, _L.used_at.is_(None))
            connection.execute(delete(access_links).where(*other_links))
            audit.record(connection, _build_guest(row.user_id, owner, came_from), "user.own_password", owner, by="link")
        return str(row.user_id)

    def _make_account(self, token: str, name: str, password: str, came_from: str | None) -> str:
        account = build_row(name, password, Role.ADMINISTRATOR)
        try:
            with self._store.write() as connection:
                row = _use(connection, token)
                account["team_id"] = row.team_id
                connection.execute(insert(users), account)
                join_team(connection, account["id"], row.team_id, Role(row.role))
                guest = _build_guest(account["id"], account["name"], came_from)
                detail = {"role": row.role, "by": "link"}
                audit.record(connection, guest, "user.create", account["name"], of_team=row.team_id, **detail)
        except IntegrityError as error:
            raise Conflict(f"The name {account['name']} is taken.", "", "Choose another one.") from error
        return str(account["id"])

    def sweep(self) -> None:
        """Forget links that have run out."""
        with self._store.write() as connection:
            connection.execute(delete(access_links).where(_L.expires_at <= utc_now()))


def _insert(connection: Connection, actor: Actor, lasts: timedelta, values: dict[str, Any]) -> str:
    token = secrets.token_urlsafe(32)
    now = utc_now()
    row = {"token_hash": _hash(token), "created_by": actor.user_id, "created_at": now, "expires_at": now + lasts}
    connection.execute(insert(access_links).values(**row, **values))
    return token


def _find(connection: Connection, token: str) -> Any:
    is_valid = (_L.token_hash == _hash(token), _L.used_at.is_(None), _L.expires_at > utc_now())
    row = connection.execute(select(access_links).where(*is_valid)).one_or_none()
    if row is None or not _may_still_be_given(connection, row):
        raise _make_not_found()
    return row


def _use(connection: Connection, token: str) -> Any:
    is_valid = (_L.token_hash == _hash(token), _L.used_at.is_(None), _L.expires_at > utc_now())
    used = update(access_links).where(*is_valid).values(used_at=utc_now()).returning(*_L)
    row = connection.execute(used).one_or_none()
    if row is None or not _may_still_be_given(connection, row):
        raise _make_not_found()
    return row


def _may_still_be_given(connection: Connection, row: Any) -> bool:
    """Whether who made a link might make it now: what leavers have put aside opens nothing."""
    if row.created_by is None:  # by the machine's operator
        return True
    if row.kind != INVITATION:
        giver = find_person(connection, row.created_by)
        return giver is not None and giver.role is Role.SUPER_ADMIN
    giver = find_person(connection, row.created_by, row.team_id)
    return giver is not None and giver.rules_team


def _build_guest(user_id: str, name: str, came_from: str | None) -> Actor:
    return Actor(user_id, name, Role.ADMINISTRATOR, came_from=came_from)


def _make_not_found() -> NotFound:
    return NotFound("This link does not work.", "It is unknown, was used, or is too old.", "Ask for a new one.")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
