"""Runs migrations with Alembic, which is imported when there is one to run: see `lib.db.schema`."""

from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from lib.db.tables import metadata


def load_scripts() -> ScriptDirectory:
    """Load the migration scripts that ship with this version."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return ScriptDirectory.from_config(config)


def run(connection: Connection, target: str) -> list[str]:
    """Run the migrations up to `target` inside the connection's transaction and return the ids of those that ran."""
    directory = load_scripts()
    done = list[str]()

    def find_steps(revision: Any, _context: MigrationContext) -> Any:
        steps_to_run = directory._upgrade_revs(target, revision)
        done.extend(step.revision.revision for step in steps_to_run)
        return steps_to_run

    with EnvironmentContext(Config(), directory, fn=find_steps) as environment:
        environment.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
        environment.get_context()._ensure_version_table()
        environment.run_migrations()
    return done
