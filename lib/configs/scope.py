"""Which configurations an API key may use; what lies outside its scope looks the same whether it exists or not."""

from collections.abc import Callable

from lib.access.permissions import Actor
from lib.configs.configuration import Configuration
from lib.errors import InvalidInput, NotFound


def find_in_scope(actor: Actor, name: str | None, find: Callable[[], Configuration]) -> Configuration:
    """Return the configuration that `find` finds for `name` (None: the app's default); raises PermissionDenied out of
    scope.
    """
    key = actor.key
    try:
        configuration = find()
    except (NotFound, InvalidInput):
        if key is not None and name is not None:
            key.require_model(name)
        raise
    if key is not None and not key.allows_model(configuration.slug):
        key.refuse_model(name or "The app's default")
    return configuration
