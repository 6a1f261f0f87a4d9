"""Saved views: a page's address under a name, for oneself or for everybody who may see statistics.

What a view shows is asked anew for whoever opens it, with their permissions: a view holds a question, no figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, insert, or_, select, update

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.access.team_scope import filter_usable, require_team
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import saved_views, users
from lib.errors import InvalidInput, NotFound

LONGEST_NAME = 80  # signs
LONGEST_QUERY = 4_000  # signs of all keys and values
MOST_VIEWS = 200  # of one person
_V = saved_views.c


@dataclass(frozen=True)
class SavedView:
    """`query` is the address's. `is_pinned`: its owner has it on the dashboard, and if shared all of its team."""

    id: str
    user_id: str | None
    owner: str | None
    name: str
    query: Mapping[str, Sequence[str]]
    is_shared: bool
    is_pinned: bool
    team_id: int
    created_at: datetime


class SavedViews:
    """Lists and changes saved views; every statement names the owner."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self, actor: Actor) -> "list[SavedView]":
        """List the actor's own views and those that are shared in the team, by name."""
        actor.require(Permission.VIEW_STATS)
        query = (
            select(saved_views, users.c.name.label("owner"))
            .outerjoin(users, users.c.id == _V.user_id)
            .where(or_(_is_own(actor), and_(_V.is_shared, filter_usable(actor, _V.team_id))))
            .order_by(_V.name, _V.id)
        )
        with self._store.read() as connection:
            return [SavedView(**row) for row in connection.execute(query).mappings()]

    def get(self, actor: Actor, view_id: str) -> SavedView:
        """Get one of the actor's own or shared views; raises NotFound."""
        for view in self.list(actor):
            if view.id == view_id:
                return view
        raise NotFound("There is no such view.", "It was deleted, or it is somebody else's and not shared.")

    def save(
        self, actor: Actor, name: str, query: Mapping[str, Sequence[str]], *, shared: bool = False, pinned: bool = False
    ) -> SavedView:
        """Save an address under a name; the actor's view of that name is replaced."""
        actor.require(Permission.VIEW_STATS)
        name = " ".join(name.split())
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise InvalidInput("The view needs a name.", f"Of 1 to {LONGEST_NAME} signs.", field="name")
        stored_query = {str(key): [str(value) for value in values] for key, values in query.items()}
        if sum(len(key) + sum(map(len, values)) for key, values in stored_query.items()) > LONGEST_QUERY:
            raise InvalidInput("The view is too long.", "Its filters name too many values.", "Choose fewer.")
        if sum(view.user_id == actor.user_id for view in self.list(actor)) >= MOST_VIEWS:
            raise InvalidInput("There are too many views.", f"{MOST_VIEWS} are yours.", "Delete some first.")
        row: dict[str, Any] = {"id": make_id(), "user_id": actor.user_id, "name": name, "query": stored_query}
        row |= {"is_shared": shared, "is_pinned": pinned, "created_at": utc_now()}
        row["team_id"] = require_team(actor)
        with self._store.write() as connection:
            connection.execute(delete(saved_views).where(_is_own(actor), _V.name == name))
            connection.execute(insert(saved_views), row)
            if shared:
                audit.record(connection, actor, "view.share", f"view {name}")
        return self.get(actor, row["id"])

    def change(self, actor: Actor, view_id: str, *, shared: bool, pinned: bool) -> None:
        """Share the actor's own view or not; pin it to the dashboard or not."""
        actor.require(Permission.VIEW_STATS)
        with self._store.write() as connection:
            changed = update(saved_views).where(_V.id == view_id, _is_own(actor)).returning(_V.name)
            name = connection.scalar(changed.values(is_shared=shared, is_pinned=pinned))
            if name is None:
                raise NotFound("There is no such view of yours.", "It was deleted, or it is somebody else's.")
            audit.record(connection, actor, "view.change", f"view {name}", shared=shared, pinned=pinned)

    def delete(self, actor: Actor, view_id: str) -> None:
        """Delete the actor's own view."""
        actor.require(Permission.VIEW_STATS)
        with self._store.write() as connection:
            name = connection.scalar(delete(saved_views).where(_V.id == view_id, _is_own(actor)).returning(_V.name))
            if name is None:
                raise NotFound("There is no such view of yours.", "It was deleted, or it is somebody else's.")
            audit.record(connection, actor, "view.delete", f"view {name}")


def _is_own(actor: Actor) -> ColumnElement[bool]:
    return _V.user_id == actor.user_id if actor.user_id is not None else _V.user_id.is_(None)
