"""Which configurations an API key may use; what lies outside its scope looks the same whether it exists or not."""

from collections.abc import Callable

from lib.access.permissions import Actor
from lib.configs.configuration import Configuration
from lib.errors import InvalidInput, NotFound


def in_scope(actor: Actor, asked: str | None, find: Callable[[], Configuration]) -> Configuration:
    """What `find` finds for the name that was `asked` for (None: the app's default); PermissionDenied out of scope."""
    key = actor.key
    try:
        found = find()
    except (NotFound, InvalidInput):
        if key is not None and asked is not None:
            key.require_model(asked)
        raise
    if key is not None and not key.allows_model(found.slug):
        key.refuse_model(asked or "The app's default")
    return found
