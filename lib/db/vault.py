"""Secrets at rest: Fernet under keys with ids; the keys stand in a 0600 file of the data folder or in the environment.

Every ciphertext names its key. `vault_keys` holds a known text under each key in use, so that a key that does not fit
the data is refused at start, before it does harm. Rotation writes the new key to the file first, keeps the old one
there until every secret has been re-encrypted in one transaction, and only then drops it: killed at any point, the
file still opens everything in the database.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import Connection, delete, insert, select, text, update

from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.keyring import Key, from_text, read_file, write_file
from lib.db.tables import installation_settings, providers, vault_keys
from lib.errors import InstallationError, InvalidInput
from lib.settings import Settings

_CANARY = "llm-manager"
KEY_FILE = "master.key"


class Vault:
    """Encrypts and decrypts; `open()` first."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._given = settings.master_key
        self.path: Path = settings.data_dir / KEY_FILE
        self._keys: list[Key] = []

    def open(self) -> None:
        """Load the keys (making the file on a fresh installation) and check that they fit the data."""
        with self._store.read() as connection:
            canaries = _canaries(connection)
        self._load(may_create=not canaries)
        known = {key.id: key for key in self._keys}
        for key_id, canary in canaries.items():
            if key_id not in known or _open_with(known[key_id], canary) != _CANARY:
                raise self._does_not_fit()
        if self._keys[0].id not in canaries:
            with self._store.write() as connection:
                if self._keys[0].id not in _canaries(connection):
                    connection.execute(insert(vault_keys).values(**_canary_row(self._keys[0])))

    def encrypt(self, secret: str, within: Connection | None = None) -> str:
        """`secret` under the newest key. Give the transaction that stores it, so that no rotation comes in between."""
        if within is not None:
            lock = "" if self._store.is_sqlite else " FOR SHARE"
            in_use = {row[0] for row in within.execute(text(f"SELECT key_id FROM vault_keys{lock}"))}  # noqa: S608
            if self._keys[0].id not in in_use:
                self._load(may_create=False)
        return _seal(self._keys[0], secret)

    def decrypt(self, ciphertext: str) -> str:
        """The secret; InstallationError when no key here opens it."""
        key_id = ciphertext.partition(":")[0]
        if key_id not in {key.id for key in self._keys}:
            self._load(may_create=False)  # another process may have rotated
        for key in self._keys:
            if key.id == key_id and (secret := _open_with(key, ciphertext)) is not None:
                return secret
        raise self._does_not_fit()

    def reencrypt(self) -> int:
        """Rotate: every secret under a new key, in one transaction; how many there were."""
        fresh = self._next_key()
        with self._store.write() as connection:
            if not self._store.is_sqlite:
                connection.execute(text("LOCK TABLE vault_keys IN EXCLUSIVE MODE"))
            count = self._reseal(connection, fresh)
            connection.execute(delete(vault_keys))
            connection.execute(insert(vault_keys).values(**_canary_row(fresh)))
        if self._given is None:
            write_file(self.path, [fresh])
        self._keys = [fresh]
        return count

    def _next_key(self) -> Key:
        """The key to rotate to, safe on disk beside the old ones before anything is encrypted with it."""
        self._load(may_create=False)
        if self._given is None:
            fresh = Key.new()
            self._keys = [fresh, *self._keys]
            write_file(self.path, self._keys)
            return fresh
        if len(self._keys) < 2:
            raise InvalidInput(
                "There is no new key to rotate to.",
                "The key comes from LLM_MANAGER_MASTER_KEY, which holds one.",
                "Write the new key before the old one, with a comma between them, restart, and rotate then.",
            )
        return self._keys[0]

    def _reseal(self, connection: Connection, fresh: Key) -> int:
        """Every provider key, every set of headers and every sealed setting under the new key."""
        count = 0
        columns = (providers.c.id, providers.c.key_ciphertext, providers.c.headers)
        for row in connection.execute(select(*columns)).all():
            changed: dict[str, object] = {}
            if row.key_ciphertext:
                changed["key_ciphertext"] = _seal(fresh, self.decrypt(row.key_ciphertext))
            if sealed := sealed_headers(row.headers):
                changed["headers"] = {**row.headers, "sealed": _seal(fresh, self.decrypt(sealed))}
            if changed:
                connection.execute(update(providers).where(providers.c.id == row.id).values(**changed))
                count += len(changed)
        settings = installation_settings.c
        for name, value in connection.execute(select(settings.name, settings.value)).all():
            if isinstance(value, dict) and (sealed := sealed_headers(value)):
                resealed = {**value, "sealed": _seal(fresh, self.decrypt(sealed))}
                connection.execute(update(installation_settings).where(settings.name == name).values(value=resealed))
                count += 1
        return count

    def _load(self, *, may_create: bool) -> None:
        if self._given is not None:
            self._keys = from_text(self._given)
            return
        if not self.path.exists():
            if not may_create:
                raise InstallationError(
                    "The key file is missing.",
                    f"{self.path.name} in the data folder opens the provider keys, and the database holds some.",
                    "Put it back from a backup, or set LLM_MANAGER_MASTER_KEY to the key it held.",
                )
            write_file(self.path, [Key.new()], only_if_absent=True)
        if os.name == "posix" and stat.S_IMODE(self.path.stat().st_mode) & 0o077:
            raise InstallationError(
                "The key file can be read by others.",
                f"{self.path} opens every provider key.",
                f"Run `chmod 600 {self.path}`, and rotate the keys if others had access.",
            )
        self._keys = read_file(self.path)

    def _does_not_fit(self) -> InstallationError:
        where = "LLM_MANAGER_MASTER_KEY" if self._given is not None else f"The key file {self.path.name}"
        return InstallationError(
            "The master key does not fit the data.",
            f"{where} is not the key the provider keys were encrypted with. Nothing was changed.",
            "Put back the key (or the key file) that belongs to this database.",
        )


def sealed_headers(headers: Mapping[str, str] | None) -> str | None:
    """The ciphertext inside a JSON value: a provider's extra headers, a setting that holds a secret."""
    return (headers or {}).get("sealed")


def _canaries(connection: Connection) -> dict[str, str]:
    return {row.key_id: row.canary for row in connection.execute(select(vault_keys))}


def _canary_row(key: Key) -> dict[str, object]:
    return {"key_id": key.id, "canary": _seal(key, _CANARY), "created_at": utc_now()}


def _seal(key: Key, secret: str) -> str:
    return f"{key.id}:{Fernet(key.value).encrypt(secret.encode()).decode()}"


def _open_with(key: Key, ciphertext: str) -> str | None:
    try:
        return Fernet(key.value).decrypt(ciphertext.partition(":")[2].encode()).decode()
    except InvalidToken:
        return None
