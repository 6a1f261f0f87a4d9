"""Secrets at rest: Fernet under keys with ids; the keys stand in a 0600 file of the data folder or in the environment.

Every ciphertext names its key. `vault_keys` holds a known text under each key in use, so that a key that does not fit
the data is refused at start, before it does harm. Rotation holds the lock on `vault_keys` from its start: it writes
the new key to the file first, keeps the old one there until every secret has been re-encrypted in one transaction that
is safe on the disk, and only then drops it. Killed at any point, the file still opens everything in the database; a
key that a kill left behind is dropped by the next rotation.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import Column, ColumnElement, Connection, delete, insert, select, text, update

from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.keyring import Key, parse_keys, read_file, write_file
from lib.db.tables import (
    approvals,
    installation_settings,
    mcp_sign_ins,
    providers,
    step_results,
    tool_turns,
    tools,
    vault_keys,
    workflow_actions,
    workflow_runs,
    workflow_steps,
    workflow_webhooks,
)
from lib.errors import InstallationError, InvalidInput
from lib.settings import Settings

_CANARY = "llm-manager"
KEY_FILE = "master.key"
SEALED_COLUMNS = (  # ciphertexts, or nothing
    approvals.c.sealed,
    mcp_sign_ins.c.attempt_sealed,
    mcp_sign_ins.c.sealed,
    step_results.c.sealed,
    workflow_webhooks.c.sealed,
)
SEALED_DOCUMENTS = (  # JSON with a ciphertext under `sealed`, or something else
    tools.c.secret_headers,
    tool_turns.c.request,
    *(workflow_runs.c[name] for name in ("inputs", "output")),
    *(workflow_steps.c[name] for name in ("input", "output", "changes")),
    workflow_actions.c.result,
)


@dataclass(frozen=True)
class VaultState:
    """Where the keys stand, the id of the one in use and since when, and how many keys are there and used."""

    source: str
    key_id: str
    since: datetime
    keys: int
    in_use: int


class Vault:
    """Encrypts and decrypts; `open()` first."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._configured_keys = settings.master_key
        self.path: Path = settings.data_dir / KEY_FILE
        self._keys: list[Key] = []

    def open(self) -> None:
        """Load the keys (making the file on a fresh installation) and check that they fit the data."""
        with self._store.read() as connection:
            canaries = _read_canaries(connection)
        self._load(may_create=not canaries)
        if not canaries:
            with self._lock_keys() as connection:
                if not (canaries := _read_canaries(connection)):
                    first = _build_canary_row(self._keys[0])
                    connection.execute(insert(vault_keys).values(**first))
                    canaries = {str(first["key_id"]): str(first["canary"])}
        keys_by_id = {key.id: key for key in self._keys}
        for key_id, canary in canaries.items():
            if key_id not in keys_by_id or _decrypt_with(keys_by_id[key_id], canary) != _CANARY:
                raise self._make_misfit_error()

    def encrypt(self, secret: str, within: Connection | None = None) -> str:
        """Encrypt `secret` under the key in use. Give the transaction that stores it, so that no rotation comes in
        between.
        """
        if within is None:
            with self._store.read() as connection:
                return _seal(self._find_key_in_use(set(_read_canaries(connection))), secret)
        lock = "" if self._store.is_sqlite else " FOR SHARE"
        in_use = {str(row[0]) for row in within.execute(text(f"SELECT key_id FROM vault_keys{lock}"))}  # noqa: S608
        return _seal(self._find_key_in_use(in_use), secret)

    def _find_key_in_use(self, in_use: set[str]) -> Key:
        """Find the newest key that the database knows: one that a rotation has only written to the file does not
        count.
        """
        if not any(key.id in in_use for key in self._keys):
            self._load(may_create=False)  # another process has rotated
        newest = next((key for key in self._keys if key.id in in_use), None)
        if newest is None:
            raise self._make_misfit_error()
        return newest

    def decrypt(self, ciphertext: str) -> str:
        """Decrypt a ciphertext; raises InstallationError when no key here opens it."""
        key_id = ciphertext.partition(":")[0]
        if key_id not in {key.id for key in self._keys}:
            self._load(may_create=False)  # another process may have rotated
        for key in self._keys:
            if key.id == key_id and (secret := _decrypt_with(key, ciphertext)) is not None:
                return secret
        raise self._make_misfit_error()

    def reencrypt(self, record_rotation: Callable[[Connection, int], None] = lambda connection, count: None) -> int:
        """Encrypt every secret under a new key in one transaction, to which `record_rotation` may add; return how many
        there were.
        """
        with self._lock_keys() as connection:
            fresh = self._next_key(set(_read_canaries(connection)))
            count = self._reseal(connection, fresh)
            connection.execute(delete(vault_keys))
            connection.execute(insert(vault_keys).values(**_build_canary_row(fresh)))
            record_rotation(connection, count)
        self._make_durable()
        if self._configured_keys is None:
            self._drop_unused()
        return count

    def state(self) -> VaultState:
        """Describe the keys without revealing them."""
        self._load(may_create=False)
        with self._store.read() as connection:
            rows = {row.key_id: row.created_at for row in connection.execute(select(vault_keys))}
        source = "environment" if self._configured_keys is not None else "file"
        current = self._find_key_in_use(set(rows)).id
        return VaultState(source, current, rows[current], len(self._keys), len(rows))

    @contextmanager
    def _lock_keys(self) -> Iterator[Connection]:
        """Open a transaction that no other rotation, and no new secret, comes into."""
        with self._store.write() as connection:
            if not self._store.is_sqlite:
                connection.execute(text("LOCK TABLE vault_keys IN EXCLUSIVE MODE"))
            yield connection

    def _make_durable(self) -> None:
        """Sync SQLite's write-ahead log to the disk before the old key is dropped: a commit may still be in memory."""
        log = Path(f"{self._store.url.database}-wal")
        if self._store.is_sqlite and log.exists():
            with log.open("rb") as file:
                os.fsync(file.fileno())

    def _drop_unused(self) -> None:
        """Keep in the file only the keys that the database uses, and delete what killed processes left beside it."""
        with self._lock_keys() as connection:
            used = _read_canaries(connection)
            self._load(may_create=False)
            self._keys = [key for key in self._keys if key.id in used]
            write_file(self.path, self._keys)
            for leftover in self.path.parent.glob(".master-*"):  # by a process that was killed while it wrote
                leftover.unlink(missing_ok=True)

    def _next_key(self, in_use: set[str]) -> Key:
        """Return the key to rotate to, safe on disk beside the old ones before anything is encrypted with it."""
        self._load(may_create=False)
        if self._configured_keys is None:
            fresh = Key.new()
            self._keys = [fresh, *self._keys]
            write_file(self.path, self._keys)
            return fresh
        if self._keys[0].id in in_use:
            raise InvalidInput(
                "There is no new key to rotate to.",
                "The key comes from LLM_MANAGER_MASTER_KEY, whose first one is in use already.",
                "Write the new key before the old one, with a comma between them, restart, and rotate then.",
            )
        return self._keys[0]

    def _reseal(self, connection: Connection, fresh: Key) -> int:
        """Encrypt every provider key, set of headers, sealed column and sealed setting under the new key."""
        count = 0
        columns = (providers.c.id, providers.c.key_ciphertext, providers.c.headers)
        for row in connection.execute(select(*columns)).all():
            changed: dict[str, object] = {}
            if row.key_ciphertext:
                changed["key_ciphertext"] = _seal(fresh, self.decrypt(row.key_ciphertext))
            if sealed := get_sealed_value(row.headers):
                changed["headers"] = {**row.headers, "sealed": _seal(fresh, self.decrypt(sealed))}
            if changed:
                connection.execute(update(providers).where(providers.c.id == row.id).values(**changed))
                count += len(changed)
        return count + self._reseal_columns(connection, fresh) + self._reseal_settings(connection, fresh)

    def _reseal_columns(self, connection: Connection, fresh: Key) -> int:
        """Encrypt the columns that hold ciphertexts, and those of JSON that may hold one."""
        count = 0
        for column in SEALED_COLUMNS:
            for is_row, ciphertext in _read_cells(connection, column):
                if self._opens(ciphertext):
                    resealed_text = _seal(fresh, self.decrypt(ciphertext))
                    connection.execute(update(column.table).where(*is_row).values({column: resealed_text}))
                    count += 1
        for column in SEALED_DOCUMENTS:
            for is_row, document in _read_cells(connection, column):
                sealed = document.get("sealed") if isinstance(document, dict) else None
                if isinstance(sealed, str) and self._opens(sealed):
                    resealed = {**document, "sealed": _seal(fresh, self.decrypt(sealed))}
                    connection.execute(update(column.table).where(*is_row).values({column: resealed}))
                    count += 1
        return count

    def _opens(self, text: str) -> bool:
        """Whether a text names a key that is here; another one is a program's own, or sealed with another key."""
        return any(text.startswith(f"{key.id}:") for key in self._keys)

    def _reseal_settings(self, connection: Connection, fresh: Key) -> int:
        count = 0
        settings = installation_settings.c
        for name, value in connection.execute(select(settings.name, settings.value)).all():
            if isinstance(value, dict) and (sealed := get_sealed_value(value)):
                resealed = {**value, "sealed": _seal(fresh, self.decrypt(sealed))}
                connection.execute(update(installation_settings).where(settings.name == name).values(value=resealed))
                count += 1
        return count

    def _load(self, *, may_create: bool) -> None:
        if self._configured_keys is not None:
            self._keys = parse_keys(self._configured_keys)
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

    def _make_misfit_error(self) -> InstallationError:
        source = "LLM_MANAGER_MASTER_KEY" if self._configured_keys is not None else f"The key file {self.path.name}"
        return InstallationError(
            "The master key does not fit the data.",
            f"{source} is not the key the provider keys were encrypted with. Nothing was changed.",
            "Put back the key (or the key file) that belongs to this database.",
        )


def get_sealed_value(headers: Mapping[str, str] | None) -> str | None:
    """Get the ciphertext inside a JSON value: a provider's extra headers, or a setting that holds a secret."""
    return (headers or {}).get("sealed")


def _read_cells(connection: Connection, column: Column[Any]) -> Iterator[tuple[list[ColumnElement[bool]], Any]]:
    """The cells of a column that are not empty, each with the condition that names its row."""
    keys = list(column.table.primary_key.columns)
    for *ids, cell in connection.execute(select(*keys, column).where(column.is_not(None))).all():
        yield [key == value for key, value in zip(keys, ids, strict=True)], cell


def _read_canaries(connection: Connection) -> dict[str, str]:
    return {row.key_id: row.canary for row in connection.execute(select(vault_keys))}


def _build_canary_row(key: Key) -> dict[str, object]:
    return {"key_id": key.id, "canary": _seal(key, _CANARY), "created_at": utc_now()}


def _seal(key: Key, secret: str) -> str:
    return f"{key.id}:{Fernet(key.value).encrypt(secret.encode()).decode()}"


def _decrypt_with(key: Key, ciphertext: str) -> str | None:
    try:
        return Fernet(key.value).decrypt(ciphertext.partition(":")[2].encode()).decode()
    except InvalidToken:
        return None
