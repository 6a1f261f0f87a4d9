"""Values of the installation itself, JSON by name, in `installation_settings`."""

from typing import Any

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from lib.clock import utc_now
from lib.db.tables import installation_settings

_S = installation_settings.c


def read(connection: Connection, name: str) -> Any:
    """Read the value of a name; None when there is none."""
    return connection.scalar(select(_S.value).where(_S.name == name))


def write(connection: Connection, name: str, value: Any) -> None:
    """Store a value under a name, in place of the one before."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    row = {"value": value, "updated_at": utc_now()}
    statement = dialect.insert(installation_settings).values(name=name, **row)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=row))


def forget(connection: Connection, name: str) -> None:
    """Delete the value of a name."""
    connection.execute(delete(installation_settings).where(_S.name == name))
