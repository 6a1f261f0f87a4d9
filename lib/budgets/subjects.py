"""What a budget is about: from a name a person gives to what the ledger's rows hold, and back to a name."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column, Connection, Table, select

from lib.budgets.budget import Scope
from lib.configs.configuration import check_slug
from lib.db.tables import configurations, providers, users
from lib.errors import InvalidInput, NotFound

# scope → (table, the column that the ledger holds, the column people know)
_NAMED: dict[Scope, tuple[Table, Column[Any], Column[Any]]] = {
    Scope.PROVIDER: (providers, providers.c.name, providers.c.name),
    Scope.CONFIGURATION: (configurations, configurations.c.id, configurations.c.slug),
    Scope.USER: (users, users.c.id, users.c.name),
}
_LONGEST = 80


def resolve(connection: Connection, scope: str, name: str) -> str:
    """The subject of a scope by the name or id a person gives; NotFound or InvalidInput (field `subject`)."""
    kind, name = Scope(scope), name.strip()
    if kind is Scope.GLOBAL:
        return ""
    if kind in _NAMED:
        _, held, known = _NAMED[kind]
        found = connection.scalar(select(held).where((known == name) | (held == name)))
        if found is None:
            raise NotFound(f"There is no {kind} {name[:_LONGEST]}.", "", "Look at its page for the names.")
        return str(found)
    if kind is Scope.APP:
        return check_slug(name, "app")
    if not name or len(name) > _LONGEST or not name.isprintable():
        raise InvalidInput("The key can't be used.", "It is named by its id.", field="subject")
    return name


def labels(connection: Connection, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, bool]]:
    """(scope, subject) → the name people know, and whether the thing is still there."""
    asked: dict[Scope, set[str]] = {}
    for scope, subject in pairs:
        asked.setdefault(Scope(scope), set()).add(subject)
    found: dict[tuple[str, str], tuple[str, bool]] = {}
    for kind, subjects in asked.items():
        names = {}
        if kind in _NAMED:
            _, held, known = _NAMED[kind]
            query = select(held, known).where(held.in_(subjects))
            names = {row[0]: row[1] for row in connection.execute(query)}
        for subject in subjects:
            label = "everything" if kind is Scope.GLOBAL else names.get(subject, subject)
            found[kind.value, subject] = (label, kind not in _NAMED or subject in names)
    return found
