"""For whom a run goes on: the person as they are now, or the key that started it; neither may be switched off since."""

from lib.access.api_keys import find_key_actor
from lib.access.membership import find_person
from lib.access.permissions import OPERATOR, Actor
from lib.db.engine import Store
from lib.errors import PermissionDenied


def load_actor(store: Store, user_id: str | None, api_key_id: str | None, team_id: int, came_from: str) -> Actor:
    """Load the actor of a run with the role of today; raises PermissionDenied for who may not act in the team now."""
    with store.read() as connection:
        if api_key_id is not None:
            actor = find_key_actor(connection, api_key_id)
        elif user_id is None:
            actor = OPERATOR
        else:
            actor = find_person(connection, user_id, team_id)
    if actor is None:
        why = "The account or the key that it runs for is not valid any more."
        raise PermissionDenied("The run can't go on.", why, "Switch it on, or start the run anew.")
    return actor.with_origin(came_from)
