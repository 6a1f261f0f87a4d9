"""Bring a database to this version's schema, or refuse with a sentence: `upgrade(store)`.

Migrations run forward only, in one transaction that other processes wait for. A database that a newer version wrote is
refused untouched. Revisions are numbered in the names of their files (`r0001_house.py` is revision `0001`).
"""

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from lib.db.engine import Store
from lib.errors import InstallationError

_ADVISORY_LOCK = 7_315_001


@cache
def list_revisions() -> tuple[str, ...]:
    """List every revision this version knows, the oldest first."""
    files = (Path(__file__).parent / "migrations" / "versions").glob("r[0-9]*_*.py")
    return tuple(sorted(file.stem[1:].partition("_")[0] for file in files))


def upgrade(store: Store, target: str = "head") -> list[str]:
    """Run the missing migrations and return their ids; InstallationError when the database is newer than this code."""
    with store.write() as connection:
        if not store.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        revision = _read_revision(connection)
        if revision is not None and revision not in list_revisions():
            raise InstallationError(
                "The database was written by a newer version of LLM Manager.",
                f"Its schema is {revision}; this version knows up to {list_revisions()[-1]}.",
                "Install that version or newer, or put back a backup from before the update. Nothing was changed.",
            )
        if revision == list_revisions()[-1]:
            return []
        from lib.db import migrate

        return migrate.run(connection, target)


def is_current(store: Store) -> bool:
    """Whether the database stands at this version's newest migration."""
    with store.read() as connection:
        return _read_revision(connection) == list_revisions()[-1]


def _read_revision(connection: Connection) -> str | None:
    """Read the database's revision; None where no migration has run."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
