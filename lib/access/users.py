"""People: names, roles, passwords. Managing them belongs to super-admins; a person changes their own password.

At least one active super-admin always remains, and nobody locks themselves out. Whatever weakens an account (another
role, disabling, a new password) ends its sessions in the same transaction.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from lib.access import audit
from lib.access.membership import join_team
from lib.access.passwords import check_password_rule, hash_password, matches
from lib.access.permissions import Actor, Role
from lib.access.team_scope import require_team
from lib.access.throttle import Throttle, build_name_subject
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import FIRST_TEAM, outside_people, sessions, users
from lib.errors import Conflict, InvalidInput, NotFound
from lib.patterns import compile_pattern

_NAME = compile_pattern(r"[\w.@+-]{2,80}")


@dataclass(frozen=True)
class User:
    """A person, without the password's hash."""

    id: str
    name: str
    role: Role
    is_active: bool
    created_at: datetime
    last_login_at: datetime | None


class Users:
    """Accounts of people, with their roles and passwords."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._throttle = Throttle(store)

    def exists(self) -> bool:
        """Whether anybody has an account yet."""
        with self._store.read() as connection:
            return connection.scalar(select(users.c.id).limit(1)) is not None

    def list(self, actor: Actor) -> list[User]:
        """Everybody, by name."""
        actor.require_super_admin()
        with self._store.read() as connection:
            rows = connection.execute(select(users).order_by(users.c.name_key)).mappings().all()
        return [_build_user(row) for row in rows]

    def names(self, ids: Iterable[str]) -> dict[str, str]:
        """Look names up by id, also of people whom an import named; unknown ids are left out."""
        user_ids = set(ids)
        if not user_ids:
            return {}
        tables = (outside_people, users)  # who has an account is called as there
        queries = (select(table.c.id, table.c.name).where(table.c.id.in_(user_ids)) for table in tables)
        with self._store.read() as connection:
            return {user_id: name for query in queries for user_id, name in connection.execute(query)}

    def create(self, actor: Actor, name: str, password: str, role: Role | str, team_id: int | None = None) -> User:
        """A new account in a team (the actor's own, unless another is named); InvalidInput or Conflict say what is
        wrong.
        """
        actor.require_super_admin()
        row = build_row(name, password, role, team_id or require_team(actor))
        try:
            with self._store.write() as connection:
                connection.execute(insert(users), row)
                join_team(connection, row["id"], row["team_id"])
                audit.record(connection, actor, "user.create", row["name"], role=row["role"])
        except IntegrityError as error:
            raise Conflict(f"The name {name} is taken.", "", "Choose another one.") from error
        return _build_user(row)

    def set_role(self, actor: Actor, user_id: str, role: Role | str) -> None:
        """Give a person another role."""
        actor.require_super_admin()
        self._change(actor, "user.role", user_id, role=parse_role(role).value)

    def set_active(self, actor: Actor, user_id: str, active: bool) -> None:
        """Switch an account on or off; off ends its sessions at once."""
        actor.require_super_admin()
        if user_id == actor.user_id and not active:
            raise Conflict("You can't disable yourself.", "", "Ask another super-admin.")
        self._change(actor, "user.enable" if active else "user.disable", user_id, is_active=active)

    def set_password(self, actor: Actor, user_id: str, password: str) -> None:
        """Give a person a new password."""
        actor.require_super_admin()
        with self._store.read() as connection:
            name = connection.scalar(select(users.c.name).where(users.c.id == user_id))
        check_password_rule(password, name or "")
        self._change(actor, "user.password", user_id, password_hash=hash_password(password))

    def change_own_password(self, actor: Actor, old: str, new: str) -> None:
        """Change the actor's own password; every session of the person ends, this one included."""
        tries = build_name_subject(actor.name)
        self._throttle.spend(tries)
        with self._store.read() as connection:
            stored = connection.scalar(select(users.c.password_hash).where(users.c.id == actor.user_id))
        if not matches(old, stored):
            raise InvalidInput("The current password is not right.", field="old")
        with self._store.write() as connection:
            self._throttle.refund(connection, tries)
        check_password_rule(new, actor.name)
        self._change(actor, "user.own_password", actor.user_id or "", password_hash=hash_password(new))

    def _change(self, actor: Actor, action: str, user_id: str, **values: Any) -> None:
        with self._store.write() as connection:
            _lock_super_admins(connection)
            user = connection.execute(select(users.c.name, users.c.role).where(users.c.id == user_id)).one_or_none()
            if user is None:
                raise NotFound("There is no such user.")
            connection.execute(update(users).where(users.c.id == user_id).values(**values))
            detail = {"role": values["role"], "before": user.role} if "role" in values else {}
            audit.record(connection, actor, action, user.name, **detail)
            _require_a_super_admin(connection)
            connection.execute(delete(sessions).where(sessions.c.user_id == user_id))


def build_row(name: str, password: str, role: Role | str, team_id: int = FIRST_TEAM) -> dict[str, Any]:
    """Build the row of a new account in a team, its name checked and its password hashed."""
    name = name.strip()
    if not _NAME.fullmatch(name) or len(name.casefold()) > 80:
        why = "It has 2 to 80 letters, digits or . _ @ + - and no spaces."
        raise InvalidInput("The user name can't be used.", why, "Choose another one.", field="name")
    check_password_rule(password, name)
    return {
        "id": make_id(),
        "name": name,
        "name_key": name.casefold(),
        "password_hash": hash_password(password),
        "role": parse_role(role).value,
        "is_active": True,
        "created_at": utc_now(),
        "last_login_at": None,
        "team_id": team_id,
    }


def parse_role(role: Role | str) -> Role:
    """Return the role of a name; raises InvalidInput with the four names."""
    try:
        return Role(role)
    except ValueError as error:
        names = ", ".join(Role)
        raise InvalidInput(f"There is no role {role}.", f"The roles are {names}.", field="role") from error


def _lock_super_admins(connection: Connection) -> None:
    """Let two changes at once follow one another (SQLite's write lock does it by itself)."""
    connection.execute(select(users.c.id).where(users.c.role == Role.SUPER_ADMIN.value).with_for_update())


def _require_a_super_admin(connection: Connection) -> None:
    able = select(func.count()).select_from(users).where(users.c.role == Role.SUPER_ADMIN.value, users.c.is_active)
    if connection.scalar(able) == 0:
        raise Conflict("One active super-admin has to remain.", "", "Give somebody else that role first.")


def _build_user(row: RowMapping | dict[str, Any]) -> User:
    names = ("id", "name", "is_active", "created_at", "last_login_at")
    return User(**{name: row[name] for name in names}, role=Role(row["role"]))
