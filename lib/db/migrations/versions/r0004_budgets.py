"""Budgets: their windows, holds and notices; and what waits to be told to the webhook."""

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.column_types import UtcMoment

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add five tables."""
    op.create_table(
        "budgets",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=80), nullable=False),
        sa.Column("period", sa.String(length=8), nullable=False),
        sa.Column("limit_nano_usd", sa.BigInteger(), nullable=False),
        sa.Column("is_hard", sa.Boolean(), nullable=False),
        sa.Column("thresholds", sa.JSON(), nullable=False),
        sa.Column("block_unpriced", sa.Boolean(), nullable=False),
        sa.Column("window_starts_at", UtcMoment, nullable=False),
        sa.Column("created_at", UtcMoment, nullable=False),
        sa.Column("updated_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budgets")),
        sa.UniqueConstraint("scope", "subject", "period", name=op.f("uq_budgets_scope_subject_period")),
    )
    op.create_table(
        "budget_windows",
        sa.Column("budget_id", sa.String(length=36), nullable=False),
        sa.Column("starts_at", UtcMoment, nullable=False),
        sa.Column("ends_at", UtcMoment, nullable=False),
        sa.Column("limit_nano_usd", sa.BigInteger(), nullable=False),
        sa.Column("spent_nano_usd", sa.BigInteger(), nullable=False),
        sa.Column("held_nano_usd", sa.BigInteger(), nullable=False),
        sa.Column("unpriced_calls", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("budget_id", "starts_at", name=op.f("pk_budget_windows")),
    )
    op.create_table(
        "budget_holds",
        sa.Column("log_id", sa.String(length=36), nullable=False),
        sa.Column("budget_id", sa.String(length=36), nullable=False),
        sa.Column("starts_at", UtcMoment, nullable=False),
        sa.Column("amount_nano_usd", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("log_id", "budget_id", name=op.f("pk_budget_holds")),
    )
    op.create_table(
        "budget_notices",
        sa.Column("budget_id", sa.String(length=36), nullable=False),
        sa.Column("starts_at", UtcMoment, nullable=False),
        sa.Column("threshold", sa.Integer(), nullable=False),
        sa.Column("at", UtcMoment, nullable=False),
        sa.Column("spent_nano_usd", sa.BigInteger(), nullable=False),
        sa.Column("limit_nano_usd", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("budget_id", "starts_at", "threshold", name=op.f("pk_budget_notices")),
    )
    op.create_index(op.f("ix_budget_notices_at"), "budget_notices", ["at"], unique=False)
    op.create_table(
        "webhook_outbox",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcMoment, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", UtcMoment, nullable=True),
        sa.Column("delivered_at", UtcMoment, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_outbox")),
    )
    op.create_index(op.f("ix_webhook_outbox_due_at"), "webhook_outbox", ["due_at"], unique=False)
