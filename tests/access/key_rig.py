"""A store with two people, their actors, and keys made for them."""

from typing import Any

from lib.access.api_key import ApiKey
from lib.access.api_keys import ApiKeys
from lib.access.permissions import OPERATOR, Actor, Role, make_actor
from lib.access.users import Users
from lib.db.engine import Store

GOOD = "correct horse battery"


class KeyRig:
    """Amira is super-admin, Jonas developer."""

    def __init__(self, store: Store) -> None:
        self.store, self.users, self.keys = store, Users(store), ApiKeys(store)
        self.amira = self._person("amira", Role.SUPER_ADMIN)
        self.jonas = self._person("jonas", Role.DEVELOPER)

    def _person(self, name: str, role: Role) -> Actor:
        return make_actor(self.users.create(OPERATOR, name, GOOD, role).id, name, role)

    def key(self, actor: Actor, **more: Any) -> tuple[str, ApiKey]:
        """A key for the app `bot`."""
        return self.keys.create(actor, **({"app": "bot"} | more))
