"""Only imported rows are indexed by batch; and how often a process died while it took a document in."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_IMPORTED = sa.text("batch_id IS NOT NULL")


def upgrade() -> None:
    """Make the index anew, which every call pays for otherwise, and add the column."""
    name = op.f("ix_usage_logs_batch_id")
    op.drop_index(name, "usage_logs")
    op.create_index(name, "usage_logs", ["batch_id"], sqlite_where=_IMPORTED, postgresql_where=_IMPORTED)
    op.add_column("documents", sa.Column("interruptions", sa.Integer(), nullable=False, server_default="0"))
