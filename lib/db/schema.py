"""Bring a database to this version's schema, or refuse with a sentence: `upgrade(store)`.

Migrations run forward only, in one transaction that other processes wait for. A database that a newer version wrote is
refused untouched.
"""

from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from lib.db.engine import Store
from lib.db.tables import metadata
from lib.errors import InstallationError

_ADVISORY_LOCK = 7_315_001


def scripts() -> ScriptDirectory:
    """The migration scripts that ship with this version."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return ScriptDirectory.from_config(config)


def upgrade(store: Store, target: str = "head") -> list[str]:
    """Run the missing migrations and return their ids; InstallationError when the database is newer than this code."""
    directory = scripts()
    with store.write() as connection:
        if not store.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        current = _refuse_newer(connection, directory)
        return _run(connection, directory, current, target)


def is_current(store: Store) -> bool:
    """Whether the database stands at this version's newest migration."""
    with store.read() as connection:
        return MigrationContext.configure(connection).get_current_revision() == scripts().get_current_head()


def _refuse_newer(connection: Connection, directory: ScriptDirectory) -> str | None:
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in {script.revision for script in directory.walk_revisions()}:
        raise InstallationError(
            "The database was written by a newer version of LLM Manager.",
            f"Its schema is {current}; this version knows up to {directory.get_current_head()}.",
            "Install that version or newer, or put back a backup from before the update. Nothing was changed.",
        )
    return current


def _run(connection: Connection, directory: ScriptDirectory, current: str | None, target: str) -> list[str]:
    done: list[str] = []

    def steps(revision: Any, _context: MigrationContext) -> Any:
        found = directory._upgrade_revs(target, revision)
        done.extend(step.revision.revision for step in found)
        return found

    with EnvironmentContext(Config(), directory, fn=steps) as environment:
        environment.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
        environment.get_context()._ensure_version_table()
        environment.run_migrations()
    return done
