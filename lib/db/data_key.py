"""A key for values that are written some time after they were sealed, or by another process, such as from a spool.

What the vault seals itself has to be stored in the transaction in which it was sealed, or a rotation of the master key
comes in between and nobody opens it any more. Such values are sealed with a key of their own: it stands in
`installation_settings`, sealed by the vault, so a rotation seals the key anew and leaves alone what it opens.
"""

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import Connection, select

from lib.db import installation
from lib.db.engine import Store
from lib.db.tables import ledger_clock
from lib.db.vault import Vault, get_sealed_value
from lib.errors import InstallationError

_SETTING = "data.key"
_MARK = "data:"  # before a ciphertext; those of the vault begin with their key's id


class DataKey:
    """Seals and opens text. Thread-safe; the key is made when it is first needed."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._fernet: Fernet | None = None

    def load(self) -> None:
        """Read or make the key now, so that nobody waits for the database later."""
        if self._fernet is None:
            self._load(None)

    def encrypt(self, text: str, within: Connection | None = None) -> str:
        """Seal a text. Give the write transaction that is open, if one is: the key may have to be made."""
        fernet = self._fernet or self._load(within)
        return _MARK + fernet.encrypt(text.encode("utf-8", "surrogatepass")).decode()

    def decrypt(self, ciphertext: str) -> str:
        """Open what was sealed here, or by the vault; raises InstallationError when no key here opens it."""
        if not ciphertext.startswith(_MARK):
            return self._vault.decrypt(ciphertext)
        fernet = self._fernet or self._load(None)
        try:
            return fernet.decrypt(ciphertext.removeprefix(_MARK).encode()).decode("utf-8", "surrogatepass")
        except InvalidToken:
            raise InstallationError(
                "A kept value can't be opened.",
                "It was sealed with another key than this installation's.",
                "Restore the settings together with the data.",
            ) from None

    @staticmethod
    def seals(text: object) -> bool:
        """Whether a text is in the form of a ciphertext, of this key or of the vault."""
        return isinstance(text, str) and (text.startswith(_MARK) or text[12:13] == ":")

    @staticmethod
    def seals_own(text: str) -> bool:
        """Whether a text is in the form of a ciphertext of this key."""
        return text.startswith(_MARK)

    def _load(self, within: Connection | None) -> Fernet:
        if within is not None:
            sealed = self._read(within) or self._make(within)
        else:
            with self._store.read() as connection:
                stored = self._read(connection)
            if stored is None:
                with self._store.write() as connection:
                    stored = self._make(connection)
            sealed = stored
        fernet = Fernet(self._vault.decrypt(sealed).encode())
        if within is None:  # else the transaction that made it may not be committed
            self._fernet = fernet
        return fernet

    def _read(self, connection: Connection) -> str | None:
        return get_sealed_value(installation.read(connection, _SETTING))

    def _make(self, connection: Connection) -> str:
        connection.execute(select(ledger_clock.c.id).with_for_update())  # of several processes the first one's stands
        sealed = self._read(connection)
        if sealed is None:
            sealed = self._vault.encrypt(Fernet.generate_key().decode(), within=connection)
            installation.write(connection, _SETTING, {"sealed": sealed})
        return sealed
