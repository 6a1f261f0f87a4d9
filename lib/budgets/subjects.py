"""What a budget is about: from a name a person gives to what the ledger's rows hold, and back to a name."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column, Connection, Table, select

from lib.budgets.budget import Scope
from lib.configs.configuration import check_slug
from lib.db.tables import api_keys, configurations, providers, users
from lib.errors import Conflict, NotFound

# scope → (table, the column that the ledger holds, the column people know)
_NAMED: dict[Scope, tuple[Table, Column[Any], Column[Any]]] = {
    Scope.PROVIDER: (providers, providers.c.name, providers.c.name),
    Scope.CONFIGURATION: (configurations, configurations.c.id, configurations.c.slug),
    Scope.USER: (users, users.c.id, users.c.name),
}
_LONGEST = 80
_K = api_keys.c


def resolve(connection: Connection, scope: str, name: str) -> str:
    """The subject of a scope by the name or id a person gives, of a key also by how it begins.

    NotFound, Conflict when several are called so, or InvalidInput (field `app`).
    """
    kind = Scope(scope)
    name = name.strip()
    if kind is Scope.GLOBAL:
        return ""
    if kind in _NAMED:
        _, subject_column, label_column = _NAMED[kind]
        subject = connection.scalar(select(subject_column).where((label_column == name) | (subject_column == name)))
        if subject is None:
            raise NotFound(f"There is no {kind} {name[:_LONGEST]}.", "", "Look at its page for the names.")
        return str(subject)
    if kind is Scope.APP:
        return check_slug(name, "app")
    return _key(connection, name)


def choices(connection: Connection, scope: str) -> dict[str, str]:
    """List what a budget of a scope may be about, ordered by name: subject → the name people know.

    API keys that were revoked are left out; the scopes `global` and `app` have no list, so theirs is empty.
    """
    kind = Scope(scope)
    if kind is Scope.KEY:
        working = select(_K.id, _K.name, _K.prefix).where(_K.revoked_at.is_(None)).order_by(_K.name, _K.id)
        return {row.id: _key_label(row.name, row.prefix) for row in connection.execute(working)}
    if kind not in _NAMED:
        return {}
    _, subject_column, label_column = _NAMED[kind]
    return {row[0]: row[1] for row in connection.execute(select(subject_column, label_column).order_by(label_column))}


def labels(connection: Connection, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, bool]]:
    """(scope, subject) → the name people know, and whether the thing is still there."""
    by_scope: dict[Scope, set[str]] = {}
    for scope, subject in pairs:
        by_scope.setdefault(Scope(scope), set()).add(subject)
    label_of: dict[tuple[str, str], tuple[str, bool]] = {}
    for kind, subjects in by_scope.items():
        names = {}
        if kind in _NAMED:
            _, subject_column, label_column = _NAMED[kind]
            query = select(subject_column, label_column).where(subject_column.in_(subjects))
            names = {row[0]: row[1] for row in connection.execute(query)}
        elif kind is Scope.KEY:
            keys = select(_K.id, _K.name, _K.prefix).where(_K.id.in_(subjects))
            names = {row.id: _key_label(row.name, row.prefix) for row in connection.execute(keys)}
        for subject in subjects:
            label = "everything" if kind is Scope.GLOBAL else names.get(subject, subject)
            label_of[kind.value, subject] = (label, kind in (Scope.GLOBAL, Scope.APP) or subject in names)
    return label_of


def _key(connection: Connection, name: str) -> str:
    begins = name.rstrip("….")
    called = select(_K.id, _K.revoked_at).where((_K.id == name) | (_K.name == name) | (_K.prefix == begins))
    rows = connection.execute(called).all()
    key_ids = [row.id for row in rows if row.revoked_at is None] or [row.id for row in rows]
    if not key_ids:
        how = "Give its name, how it begins (as it is listed) or its id."
        raise NotFound(f"There is no API key {name[:_LONGEST]}.", "", how)
    if len(key_ids) > 1:
        raise Conflict(
            f"Several API keys are called {name[:_LONGEST]}.", "", "Say how the one begins, as it is listed."
        )
    return str(key_ids[0])


def _key_label(name: str, prefix: str) -> str:
    return f"{name} ({prefix}…)"
