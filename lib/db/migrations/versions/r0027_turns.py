"""Answers that several calls write one after the other."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Add columns with constant defaults: no message is rewritten."""
    op.add_column("messages", sa.Column("earlier_call_ids", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("messages", sa.Column("turn_process_id", sa.String(length=36), nullable=True))
