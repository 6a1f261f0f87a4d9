"""People's sign-ins at servers of tools, and whose was used to list a server's tools."""

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.column_types import UtcMoment

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    """Add the table and the column."""
    op.create_table(
        "mcp_sign_ins",
        sa.Column("server_id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=True),
        sa.Column("expires_at", UtcMoment(), nullable=True),
        sa.Column("refreshing_until", UtcMoment(), nullable=True),
        sa.Column("attempt_hash", sa.String(length=64), nullable=True),
        sa.Column("attempt_sealed", sa.Text(), nullable=True),
        sa.Column("attempt_until", UtcMoment(), nullable=True),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.Column("updated_at", UtcMoment(), nullable=False),
        sa.PrimaryKeyConstraint("server_id", "user_id", name=op.f("pk_mcp_sign_ins")),
    )
    op.add_column("mcp_states", sa.Column("listed_as", sa.String(length=36), nullable=True))
