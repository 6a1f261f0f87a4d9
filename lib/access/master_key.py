"""Rotating the master key: for those who may manage encryption keys, with a note in the audit log."""

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.db.vault import Vault, VaultState


class MasterKey:
    """The vault as a person sees it: how old its key is, and a new one."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def state(self, actor: Actor) -> VaultState:
        """Tell where the key stands and since when it is in use."""
        actor.require(Permission.MANAGE_ENCRYPTION_KEYS)
        return self._vault.state()

    def rotate(self, actor: Actor) -> int:
        """Re-encrypt every stored secret under a new master key and return how many there were."""
        actor.require(Permission.MANAGE_ENCRYPTION_KEYS)
        return self._vault.reencrypt(
            lambda connection, count: audit.record(connection, actor, "key.rotate", "master key", secrets=count)
        )
