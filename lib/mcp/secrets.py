"""Values of a server's variables or headers: sealed by the vault in `installation_settings`, one value a server.

`{"sealed": …}` is the form that a rotation of the master key finds.
"""

import json
from collections.abc import Mapping

from sqlalchemy import Connection

from lib.db import installation
from lib.db.engine import Store
from lib.db.vault import Vault, get_sealed_value
from lib.providers.redaction import remember


def read_secrets(store: Store, vault: Vault, server_id: str) -> dict[str, str]:
    """Read the values by name; from then on this process hides them in what it writes."""
    with store.read() as connection:
        sealed = get_sealed_value(installation.read(connection, _name(server_id)))
    values: dict[str, str] = json.loads(vault.decrypt(sealed)) if sealed else {}
    for value in values.values():
        remember(value)
    return values


def write_secrets(connection: Connection, vault: Vault, server_id: str, values: Mapping[str, str]) -> None:
    """Store the values in place of the ones before."""
    for value in values.values():
        remember(value)
    sealed = vault.encrypt(json.dumps(dict(values)), connection)
    installation.write(connection, _name(server_id), {"sealed": sealed})


def forget_secrets(connection: Connection, server_id: str) -> None:
    """Delete the values."""
    installation.forget(connection, _name(server_id))


def _name(server_id: str) -> str:
    return f"mcp.secrets.{server_id}"
