"""How a call was served, what it cost beside tokens, and what its lane left out of the request."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add columns with constant defaults: no row is rewritten, and no copy of the ledger has to follow."""
    for column in (
        sa.Column("fees_nano_usd", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("service_tier", sa.String(length=32), nullable=False, server_default=""),
        sa.Column("usage_details", sa.JSON(), nullable=True),
        sa.Column("dropped_fields", sa.Text(), nullable=False, server_default=""),
    ):
        op.add_column("usage_logs", column)
