"""What a budget is about: from a name a person gives to what the ledger's rows hold, and back to a name."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, String, Table, cast, select, true

from lib.access.permissions import Actor
from lib.access.team_scope import filter_changeable, filter_usable
from lib.budgets.budget import BudgetScope
from lib.configs.configuration import check_slug
from lib.db.tables import ALL_TEAMS, api_keys, configurations, providers, team_members, teams, users
from lib.errors import Conflict, NotFound

# scope → (table, the column that the ledger holds, the column people know)
_NAMED: dict[BudgetScope, tuple[Table, ColumnElement[Any], ColumnElement[Any]]] = {
    BudgetScope.PROVIDER: (providers, providers.c.name, providers.c.name),
    BudgetScope.CONFIGURATION: (configurations, configurations.c.id, configurations.c.slug),
    BudgetScope.USER: (users, users.c.id, users.c.name),
    BudgetScope.TEAM: (teams, cast(teams.c.id, String), teams.c.slug),
}
_LONGEST = 80
_K = api_keys.c


def resolve(connection: Connection, actor: Actor, scope: str, name: str) -> str:
    """The subject of a scope by the name or id a person gives, of a key also by how it begins.

    What is another team's is as unknown as what is not there: NotFound. Conflict when several are called so,
    InvalidInput (field `app`) for what can't be an app.
    """
    kind = BudgetScope(scope)
    name = name.strip()
    if kind is BudgetScope.GLOBAL:
        return ""
    if kind in _NAMED:
        _, subject_column, label_column = _NAMED[kind]
        is_named = (label_column == name) | (subject_column == name)
        subject = connection.scalar(select(subject_column).where(is_named, _reach(actor, kind)))
        if subject is None:
            raise NotFound(f"There is no {kind} {name[:_LONGEST]}.", "", "Look at its page for the names.")
        return str(subject)
    if kind is BudgetScope.APP:
        return check_slug(name, "app")
    return _find_key_id(connection, actor, name)


def list_choices(connection: Connection, actor: Actor, scope: str) -> dict[str, str]:
    """List what a budget of a scope may be about, ordered by name: subject → the name people know.

    API keys that were revoked are left out; the scopes `global` and `app` have no list, so theirs is empty.
    """
    kind = BudgetScope(scope)
    if kind is BudgetScope.KEY:
        working = (
            select(_K.id, _K.name, _K.prefix)
            .where(_K.revoked_at.is_(None), _reach(actor, kind))
            .order_by(_K.name, _K.id)
        )
        return {row.id: _format_key_label(row.name, row.prefix) for row in connection.execute(working)}
    if kind not in _NAMED:
        return {}
    _, subject_column, label_column = _NAMED[kind]
    query = select(subject_column, label_column).where(_reach(actor, kind)).order_by(label_column)
    return {row[0]: row[1] for row in connection.execute(query)}


def find_team(connection: Connection, scope: str, subject: str) -> int:
    """The team whose own a budget of a scope is; 0 where it counts calls of several teams."""
    match BudgetScope(scope):
        case BudgetScope.TEAM:
            return int(subject)
        case BudgetScope.KEY:
            team_id = connection.scalar(select(_K.team_id).where(_K.id == subject))
        case BudgetScope.CONFIGURATION:
            is_configuration = configurations.c.id == subject
            team_id = connection.scalar(select(configurations.c.team_id).where(is_configuration))
        case _:
            team_id = ALL_TEAMS
    return ALL_TEAMS if team_id is None else team_id


def _reach(actor: Actor, kind: BudgetScope) -> ColumnElement[bool]:
    """Build the condition on the subjects that an actor may name: only super-admins name other teams'."""
    match kind:
        case BudgetScope.CONFIGURATION:
            return filter_usable(actor, configurations.c.team_id)
        case BudgetScope.KEY:
            return filter_changeable(actor, _K.team_id)
        case BudgetScope.TEAM:
            return filter_changeable(actor, teams.c.id)
        case BudgetScope.USER:
            members = select(team_members.c.user_id).where(filter_changeable(actor, team_members.c.team_id))
            return true() if actor.sees_every_team else users.c.id.in_(members)
        case _:
            return true()


def load_labels(connection: Connection, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, bool]]:
    """(scope, subject) → the name people know, and whether the thing is still there."""
    by_scope: dict[BudgetScope, set[str]] = {}
    for scope, subject in pairs:
        by_scope.setdefault(BudgetScope(scope), set()).add(subject)
    label_of: dict[tuple[str, str], tuple[str, bool]] = {}
    for kind, subjects in by_scope.items():
        names = {}
        if kind in _NAMED:
            _, subject_column, label_column = _NAMED[kind]
            query = select(subject_column, label_column).where(subject_column.in_(subjects))
            names = {row[0]: row[1] for row in connection.execute(query)}
        elif kind is BudgetScope.KEY:
            keys = select(_K.id, _K.name, _K.prefix).where(_K.id.in_(subjects))
            names = {row.id: _format_key_label(row.name, row.prefix) for row in connection.execute(keys)}
        for subject in subjects:
            label = "everything" if kind is BudgetScope.GLOBAL else names.get(subject, subject)
            label_of[kind.value, subject] = (label, kind in (BudgetScope.GLOBAL, BudgetScope.APP) or subject in names)
    return label_of


def _find_key_id(connection: Connection, actor: Actor, name: str) -> str:
    begins = name.rstrip("….")
    is_named = (_K.id == name) | (_K.name == name) | (_K.prefix == begins)
    called = select(_K.id, _K.revoked_at).where(is_named, _reach(actor, BudgetScope.KEY))
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


def _format_key_label(name: str, prefix: str) -> str:
    return f"{name} ({prefix}…)"
