"""The run that works on an experiment."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Add a column without a default: no row is rewritten."""
    op.add_column("experiments", sa.Column("run_id", sa.String(length=36), nullable=True))
