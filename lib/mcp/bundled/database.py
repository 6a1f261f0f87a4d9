"""Registered databases, read by models: the engine itself refuses to write, whatever the statement says.

`sqlite_reader` and `postgres_reader` say how; `statements` runs them in a limited child. A statement has 30 seconds; an
answer has 100 rows, texts of 4,000 characters and 1 MB in all. The databases of this product are never among them: a
database that holds its vault is refused when it is registered and at every connection, by whatever address it is
reached.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol
from urllib.parse import urlsplit

from msgspec import Meta

from lib.access.permissions import Actor
from lib.errors import InvalidInput, NotFound, PermissionDenied
from lib.mcp.bundled.sqlite_reader import SqliteReader
from lib.mcp.bundled.statements import run_statement
from lib.mcp.bundled.tabular import Rows
from lib.mcp.bundled.tool import Arguments, BundledServer, BundledTool

OWN_TABLES = frozenset({"vault_keys", "installation_settings"})
Name = Annotated[str, Meta(min_length=1, max_length=80, description="The name of a registered database.")]


class ListDatabases(Arguments, frozen=True):
    pass


class DescribeDatabase(Arguments, frozen=True):
    database: Name


class QueryDatabase(Arguments, frozen=True):
    database: Name
    sql: Annotated[str, Meta(min_length=1, max_length=50_000, description="One SELECT statement.")]


class DatabaseReader(Protocol):
    """A database that is only read."""

    def describe(self) -> dict[str, list[str]]:
        """Columns with their types, by table or view."""
        ...

    def query(self, sql: str) -> Rows:
        """The rows of one statement; raises InvalidInput with the engine's own words."""
        ...


@dataclass(frozen=True)
class DatabaseSettings:
    """Addresses by name: `sqlite:////absolute/file.db` or `postgresql://user:password@host/database`."""

    addresses: Mapping[str, str]


def open_reader(address: str) -> DatabaseReader:
    """Open the reader of an address; raises InvalidInput for an address of another kind."""
    scheme = address.partition(":")[0].partition("+")[0]
    if scheme == "sqlite" and address.partition("sqlite://")[2].startswith("//"):
        return SqliteReader(address.partition("sqlite:///")[2])
    if scheme in ("postgresql", "postgres"):
        from lib.mcp.bundled.postgres_reader import PostgresReader  # loads the driver

        return PostgresReader("postgresql:" + address.partition(":")[2])
    fix = "Write sqlite:////folder/file.db or postgresql://user:password@host/database."
    raise InvalidInput("The address can't be read.", "", fix, field="address")


def check_address(address: str) -> None:
    """Connect once; raises InvalidInput or PermissionDenied with what keeps the database from being registered."""
    _refuse_own(open_reader(address.strip()).describe())


def hide_password(address: str) -> str:
    """Write an address as people may read it: without its password and options."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    user = parts.username
    return f"{parts.scheme}://{f'{user}@' if user else ''}{host}{parts.path}"


def build_server(settings: DatabaseSettings) -> BundledServer:
    """Build the server of the registered databases."""
    databases = _Databases(settings)
    tools = (
        BundledTool(
            "list_databases", "List databases", "Names the databases there are.", ListDatabases, databases.list
        ),
        BundledTool(
            "describe_database",
            "Describe a database",
            "Lists tables with columns.",
            DescribeDatabase,
            databases.describe,
        ),
        BundledTool(
            "query_database",
            "Query a database",
            "Runs one SELECT, read-only; at most 100 rows. Describe the database first.",
            QueryDatabase,
            databases.query,
        ),
    )
    missing = "No database is registered yet. An administrator registers some on the page MCP servers."
    is_empty = not settings.addresses
    return BundledServer("database", "Registered databases", () if is_empty else tools, missing if is_empty else "")


class _Databases:
    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings

    def list(self, _actor: Actor, _arguments: ListDatabases) -> dict[str, Any]:
        kinds = {
            name: address.partition(":")[0].partition("+")[0] for name, address in self._settings.addresses.items()
        }
        return {"databases": [{"name": name, "kind": kind} for name, kind in sorted(kinds.items())]}

    def describe(self, _actor: Actor, arguments: DescribeDatabase) -> dict[str, Any]:
        tables = self._open(arguments.database).describe()
        _refuse_own(tables)
        return {"tables": tables}

    def query(self, _actor: Actor, arguments: QueryDatabase) -> dict[str, Any]:
        _refuse_own(self._open(arguments.database).describe())
        return run_statement(self._settings.addresses[arguments.database], arguments.sql).to_json()

    def _open(self, name: str) -> DatabaseReader:
        address = self._settings.addresses.get(name)
        if address is None:
            addresses = ", ".join(sorted(self._settings.addresses))
            raise NotFound(f"There is no database {name[:80]}.", f"Registered are {addresses}.", "Name one of them.")
        return open_reader(address)


def _refuse_own(tables: Sequence[str] | Mapping[str, Any]) -> None:
    names = {table.rpartition(".")[2] for table in tables}
    if names >= OWN_TABLES:
        raise PermissionDenied(
            "This database is LLM Manager's own.",
            "It holds the keys and words of everybody.",
            "Register another; the server of operations answers questions about usage.",
        )
