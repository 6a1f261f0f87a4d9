"""Who may read and who may change a collection: a condition of every statement.

Its owner and super-admins change it, and for that the permission to manage the knowledge base is needed. It is read by
its owner, by super-admins and, when it is shared, by everybody who may use models.
"""

from sqlalchemy import ColumnElement, Connection, RowMapping, or_, select, true

from lib.access.permissions import OPERATOR, Actor, Permission, Role, make_actor
from lib.db.engine import Store
from lib.db.tables import collections, users
from lib.errors import NotFound

_C = collections.c


def readable(actor: Actor) -> ColumnElement[bool]:
    """Collections that the actor may search and read."""
    actor.require(Permission.TEST_CONFIGS)
    if actor.user_id is None or actor.role is Role.SUPER_ADMIN:
        return true()
    return or_(_C.owner_id == actor.user_id, _C.is_shared)


def writable(actor: Actor) -> ColumnElement[bool]:
    """Collections that the actor may change."""
    actor.require(Permission.MANAGE_KNOWLEDGE_BASE)
    return true() if actor.user_id is None or actor.role is Role.SUPER_ADMIN else _C.owner_id == actor.user_id


def find(connection: Connection, collection_id: str, condition: ColumnElement[bool]) -> RowMapping:
    """The collection, by id; NotFound when it is not there or not for the actor."""
    row = connection.execute(select(collections).where(_C.id == collection_id, condition)).mappings().first()
    if row is None:
        raise NotFound("There is no such collection.", "It was deleted, or it belongs to somebody else.")
    return row


def actor_of(store: Store, user_id: str | None) -> Actor:
    """The actor behind background work (its calls, its budget) from the user id of a row; NotFound without an account.

    `user_id` None is the operator.
    """
    if user_id is None:
        return OPERATOR
    with store.read() as connection:
        query = select(users.c.name, users.c.role).where(users.c.id == user_id, users.c.is_active)
        row = connection.execute(query).first()
    if row is None:
        raise NotFound("The person who began it has no account any more.", "", "Begin it again.")
    return make_actor(user_id, row.name, Role(row.role))
