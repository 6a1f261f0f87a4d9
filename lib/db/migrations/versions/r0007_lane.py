"""In which lane an attempt went: relay or translate."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add a column to both tables of attempts; what was before has none."""
    for table in ("open_calls", "usage_logs"):
        op.add_column(table, sa.Column("lane", sa.String(length=10), nullable=True))
