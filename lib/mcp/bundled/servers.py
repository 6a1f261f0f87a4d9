"""The bundled servers of this installation, and what administrators allow them: folders, and registered databases.

Settings stand in `installation_settings`; addresses of databases hold passwords, so they are sealed by the vault, as
`{"sealed": …}`, which a rotation of the master key finds. They are looked at again at each listing: a change counts at
once, in every process.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.db import installation
from lib.db.engine import Store
from lib.db.vault import Vault, get_sealed_value
from lib.errors import Conflict, InvalidInput, NotFound
from lib.mcp.bundled import code, database, filesystem, operations
from lib.mcp.bundled.tool import BundledServer
from lib.prompts.prompts import Prompts
from lib.providers.redaction import remember
from lib.settings import PROJECT

NAMES = ("filesystem", "database", "operations", "code")
_FILES = "mcp.filesystem"
_DATABASES = "mcp.databases"
_MOST_DATABASES = 50


class BundledServers:
    """Lists the four servers, and changes what they may reach."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        prompts: Prompts,
        services: Callable[[], operations.OperationServices],
        data_folder: Path,
    ) -> None:
        self._data_folder = data_folder
        self._store = store
        self._vault = vault
        self._operations = services
        self._prompts = prompts
        self._built: tuple[Any, Sequence[BundledServer]] = ((), ())

    def list(self, actor: Actor) -> Sequence[BundledServer]:
        """List the servers for who may use tools; one that offers nothing says why."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            settings = installation.read(connection, _FILES), installation.read(connection, _DATABASES)
            if settings != self._built[0]:
                self._built = (settings, self._build(connection))
        return self._built[1]

    def _build(self, connection: Connection) -> Sequence[BundledServer]:
        return (
            filesystem.build_server(self._read_files(connection)),
            database.build_server(database.DatabaseSettings(self._read_addresses(connection))),
            operations.build_server(self._operations()),
            code.build_server(self._prompts),
        )

    def find(self, actor: Actor, name: str) -> BundledServer:
        """Find one of the servers by its name; raises NotFound."""
        server = next((server for server in self.list(actor) if server.name == name), None)
        if server is None:
            raise NotFound(f"There is no bundled server {name[:40]}.", f"There are {', '.join(NAMES)}.")
        return server

    def files(self, actor: Actor) -> filesystem.FilesystemSettings:
        """Which folders and extensions are allowed."""
        actor.require(Permission.MANAGE_TOOLS)
        with self._store.read() as connection:
            return self._read_files(connection)

    def set_files(
        self, actor: Actor, roots: Sequence[str], extensions: Sequence[str] = (), *, may_write: bool = False
    ) -> filesystem.FilesystemSettings:
        """Allow folders; without extensions the usual ones of texts. Raises InvalidInput for what is no folder."""
        actor.require_of_installation(Permission.MANAGE_TOOLS)
        suffixes = [f".{extension.strip().lower().lstrip('.')}" for extension in extensions if extension.strip(" .")]
        checked = filesystem.check_roots(
            list(dict.fromkeys(root.strip() for root in roots if root.strip())),
            closed=[self._data_folder],
            unwritten=[PROJECT] if may_write else [],
        )
        value = {
            "roots": {name: str(path) for name, path in checked.items()},
            "extensions": sorted(set(suffixes)) or list(filesystem.EXTENSIONS),
            "may_write": may_write,
        }
        with self._store.write() as connection:
            installation.write(connection, _FILES, value)
            audit.record(connection, actor, "tools.files", "filesystem", roots=value["roots"], may_write=may_write)
            return self._read_files(connection)

    def databases(self, actor: Actor) -> Mapping[str, str]:
        """Addresses of the registered databases by name, without their passwords."""
        actor.require(Permission.MANAGE_TOOLS)
        with self._store.read() as connection:
            addresses = self._read_addresses(connection)
        return {name: database.hide_password(address) for name, address in sorted(addresses.items())}

    def register_database(self, actor: Actor, name: str, address: str) -> None:
        """Register a database after connecting once; raises InvalidInput, Conflict or PermissionDenied."""
        actor.require_of_installation(Permission.MANAGE_TOOLS)
        name = name.strip()
        if not name or len(name) > 80 or not name.isprintable():
            raise InvalidInput("The name can't be used.", "It must have 1 to 80 characters.", "Correct it.", "name")
        remember(address)
        database.check_address(address)
        with self._store.write() as connection:
            addresses = self._read_addresses(connection)
            if name in addresses:
                raise Conflict(f"There is a database {name} already.", "", "Choose another name, or remove it first.")
            if len(addresses) >= _MOST_DATABASES:
                raise Conflict(f"There are {_MOST_DATABASES} databases already.", "", "Remove one first.")
            self._write_addresses(connection, {**addresses, name: address.strip()})
            audit.record(connection, actor, "tools.database.add", name, address=database.hide_password(address.strip()))

    def remove_database(self, actor: Actor, name: str) -> None:
        """Forget a database; raises NotFound."""
        actor.require_of_installation(Permission.MANAGE_TOOLS)
        with self._store.write() as connection:
            addresses = self._read_addresses(connection)
            if name not in addresses:
                raise NotFound(f"There is no database {name[:80]}.")
            self._write_addresses(connection, {key: value for key, value in addresses.items() if key != name})
            audit.record(connection, actor, "tools.database.remove", name)

    def _read_addresses(self, connection: Connection) -> dict[str, str]:
        sealed = get_sealed_value(installation.read(connection, _DATABASES))
        return dict(json.loads(self._vault.decrypt(sealed))) if sealed else {}

    def _write_addresses(self, connection: Connection, addresses: Mapping[str, str]) -> None:
        sealed = self._vault.encrypt(json.dumps(addresses), connection)
        installation.write(connection, _DATABASES, {"sealed": sealed})

    def _read_files(self, connection: Connection) -> filesystem.FilesystemSettings:
        value: dict[str, Any] = installation.read(connection, _FILES) or {}
        return filesystem.FilesystemSettings(
            {name: Path(path) for name, path in value.get("roots", {}).items()},
            tuple(value.get("extensions", filesystem.EXTENSIONS)),
            bool(value.get("may_write")),
            (self._data_folder,),
        )
