"""The cache's own key: questions are looked up by keyed hashes, questions and answers are stored encrypted.

A plain hash of a prompt lets whoever reads the table guess prompts. The key is 64 random bytes, sealed by the vault in
a setting, so that a rotation of the vault's key keeps what is remembered: 32 bytes are for hashes, 32 for encryption.
"""

import base64
import hashlib
import secrets
import zlib
from functools import cached_property
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from lib.db import installation
from lib.db.engine import Store
from lib.db.vault import Vault
from lib.fast_json import decode, encode

_SETTING = "cache.key"
_BYTES = 64


class CacheSecret:
    """Hashes and encrypts for one installation; the key is made when it is first needed."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    def hash(self, *parts: bytes) -> str:
        """64 hexadecimal digits of the parts, whose limits count: `ab`, `c` is not `a`, `bc`."""
        digest = self._keyed.copy()  # half the price of a fresh one
        digest.update(b"".join([len(part).to_bytes(8, "big") + part for part in parts]))
        return digest.hexdigest()

    def seal(self, document: Any) -> str:
        """JSON, compressed and encrypted."""
        return self._fernet.encrypt(zlib.compress(encode(document))).decode()

    def open(self, sealed: str) -> Any:
        """The document; None where it can't be opened."""
        try:
            return decode(zlib.decompress(self._fernet.decrypt(sealed.encode())))
        except (InvalidToken, zlib.error, ValueError):
            return None

    @cached_property
    def _keyed(self) -> "hashlib.blake2b":
        return hashlib.blake2b(key=self._key[:32], digest_size=32)

    @cached_property
    def _fernet(self) -> Fernet:
        return Fernet(base64.urlsafe_b64encode(self._key[32:]))

    @cached_property
    def _key(self) -> bytes:
        with self._store.read() as connection:
            setting = installation.read(connection, _SETTING)
        if setting is None:
            with self._store.write() as connection:  # of two processes the first one's stands
                setting = installation.read(connection, _SETTING)
                if setting is None:
                    fresh = base64.b64encode(secrets.token_bytes(_BYTES)).decode()
                    setting = {"sealed": self._vault.encrypt(fresh, within=connection)}
                    installation.write(connection, _SETTING, setting)
        return base64.b64decode(self._vault.decrypt(setting["sealed"]))
