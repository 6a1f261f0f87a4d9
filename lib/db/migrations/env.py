"""Alembic's hook; `lib.db.schema` configures and runs everything."""

from alembic import context

context.run_migrations()
