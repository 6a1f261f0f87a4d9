"""Sums that are the least: what a notice told of unpriced calls, and runs and steps whose cost is known in part."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    """Add columns with constant defaults: no row is rewritten."""
    unpriced: sa.Column[int] = sa.Column("unpriced_calls", sa.Integer(), nullable=False, server_default="0")
    op.add_column("budget_notices", unpriced)
    for table in ("workflow_runs", "workflow_steps"):
        column: sa.Column[bool] = sa.Column("has_partial_cost", sa.Boolean(), nullable=False, server_default=sa.false())
        op.add_column(table, column)
