"""Cells of experiments whose cost is only known in part."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Add a column with a constant default: no cell is rewritten."""
    column: sa.Column[bool] = sa.Column("has_partial_cost", sa.Boolean(), nullable=False, server_default=sa.false())
    op.add_column("experiment_cells", column)
