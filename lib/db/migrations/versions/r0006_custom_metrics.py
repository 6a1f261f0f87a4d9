"""Custom metrics: what programs and people note about their calls."""

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.column_types import UtcMoment

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add a table."""
    op.create_table(
        "custom_metrics",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("call_id", sa.String(length=36), nullable=False),
        sa.Column("started_at", UtcMoment, nullable=False),
        sa.Column("app", sa.String(length=80), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=True),
        sa.Column("api_key_id", sa.String(length=36), nullable=True),
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("type", sa.String(length=8), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_custom_metrics")),
    )
    op.create_index(op.f("ix_custom_metrics_call_id"), "custom_metrics", ["call_id"], unique=False)
    op.create_index(op.f("ix_custom_metrics_key_started_at"), "custom_metrics", ["key", "started_at"], unique=False)
    op.create_index(op.f("ix_custom_metrics_started_at"), "custom_metrics", ["started_at"], unique=False)
