"""Who may read and who may change a collection: a condition of every statement.

Its owner and super-admins change it, and for that the permission to manage the knowledge base is needed. It is read by
its owner, by super-admins and, when it is shared, by everybody of its team who may use models; one of all teams by
everybody.
"""

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, or_, select, true

from lib.access.membership import find_person
from lib.access.permissions import OPERATOR, Actor, Permission
from lib.access.team_scope import filter_changeable, filter_usable
from lib.db.engine import Store
from lib.db.tables import ALL_TEAMS, collections
from lib.errors import NotFound

_C = collections.c


def filter_readable(actor: Actor) -> ColumnElement[bool]:
    """Collections that the actor may search and read."""
    actor.require(Permission.TEST_CONFIGS)
    if actor.sees_every_team:
        return true()
    is_own = and_(_C.owner_id == actor.user_id, _C.team_id.in_((ALL_TEAMS, *actor.team_ids)))
    return or_(is_own, and_(_C.is_shared, filter_usable(actor, _C.team_id)))


def filter_writable(actor: Actor) -> ColumnElement[bool]:
    """Collections that the actor may change."""
    actor.require(Permission.MANAGE_KNOWLEDGE_BASE)
    if actor.sees_every_team:
        return true()
    of_team = filter_changeable(actor, _C.team_id)
    return of_team if actor.rules_team else and_(of_team, _C.owner_id == actor.user_id)


def find(connection: Connection, collection_id: str, condition: ColumnElement[bool]) -> RowMapping:
    """The collection, by id; NotFound when it is not there or not for the actor."""
    row = connection.execute(select(collections).where(_C.id == collection_id, condition)).mappings().first()
    if row is None:
        raise NotFound("There is no such collection.", "It was deleted, or it belongs to somebody else.")
    return row


def load_actor(store: Store, user_id: str | None, collection_id: str) -> Actor:
    """The actor behind background work on a collection (its calls, its budget) from the user id of a row.

    They act in the collection's team. NotFound without an account there; `user_id` None is the operator.
    """
    if user_id is None:
        return OPERATOR
    with store.read() as connection:
        team_id = connection.scalar(select(_C.team_id).where(_C.id == collection_id))
        actor = find_person(connection, user_id, team_id or None)
    if actor is None:
        raise NotFound("The person who began it has no account any more.", "", "Begin it again.")
    return actor
