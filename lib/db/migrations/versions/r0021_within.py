"""What a call is made within: a program's session, and the call for whose sake it was made."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Add columns that are NULL in every row there is: none is rewritten, and no copy of the ledger has to follow."""
    for table in ("open_calls", "usage_logs"):
        op.add_column(table, sa.Column("session_id", sa.String(length=120), nullable=True))
        op.add_column(table, sa.Column("parent_call_id", sa.String(length=36), nullable=True))
    for column in ("session_id", "parent_call_id"):
        has_one = sa.text(f"{column} IS NOT NULL")
        name = op.f(f"ix_usage_logs_{column}")
        op.create_index(name, "usage_logs", [column], sqlite_where=has_one, postgresql_where=has_one)
