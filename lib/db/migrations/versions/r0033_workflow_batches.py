"""Runs that were begun together from the rows of a table: which batch, which row."""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    """Add two columns, empty for runs of before."""
    op.add_column("workflow_runs", sa.Column("batch_id", sa.String(length=36), nullable=True))
    op.add_column("workflow_runs", sa.Column("batch_row", sa.Integer(), nullable=True))
    op.create_index(op.f("ix_workflow_runs_batch_id_batch_row"), "workflow_runs", ["batch_id", "batch_row"])
