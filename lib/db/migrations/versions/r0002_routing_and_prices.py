"""Routing, prices that can be edited, overrides, discovered models, circuits, audit, content policies."""

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.column_types import UtcMoment

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add tables and columns; the values that rows had stay."""
    op.create_table(
        "audit_log",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("at", UtcMoment, nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=True),
        sa.Column("user_name", sa.String(length=80), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(op.f("ix_audit_log_at"), "audit_log", ["at"], unique=False)
    op.create_table(
        "circuits",
        sa.Column("provider_id", sa.String(length=36), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("opened_at", UtcMoment, nullable=True),
        sa.Column("open_until", UtcMoment, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("updated_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("provider_id", "model", name=op.f("pk_circuits")),
    )
    op.create_table(
        "installation_settings",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("updated_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_installation_settings")),
    )
    op.create_table(
        "model_lists",
        sa.Column("provider_id", sa.String(length=36), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("fetched_at", UtcMoment, nullable=True),
        sa.Column("tried_at", UtcMoment, nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("provider_id", name=op.f("pk_model_lists")),
    )
    op.create_table(
        "overrides",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("app", sa.String(length=80), nullable=True),
        sa.Column("context", sa.String(length=80), nullable=True),
        sa.Column("configuration_id", sa.String(length=36), nullable=True),
        sa.Column("strategy", sa.String(length=12), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcMoment, nullable=False),
        sa.Column("updated_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_overrides")),
    )
    op.create_table(
        "prices",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("valid_from", UtcMoment, nullable=False),
        sa.Column("rates", sa.JSON(), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("created_by", sa.String(length=36), nullable=True),
        sa.Column("created_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prices")),
        sa.UniqueConstraint("kind", "model", "valid_from", name=op.f("uq_prices_kind_model_valid_from")),
    )
    op.add_column("configurations", sa.Column("routing", sa.JSON(), server_default="{}", nullable=False))
    op.add_column(
        "configurations", sa.Column("content_policy", sa.String(length=12), server_default="full", nullable=False)
    )
    op.add_column(
        "configurations",
        sa.Column("unsupported_parameters", sa.String(length=8), server_default="refuse", nullable=False),
    )
    op.add_column("usage_logs", sa.Column("cache_write_1h_tokens", sa.Integer(), nullable=True))
    op.add_column("usage_logs", sa.Column("images", sa.Integer(), nullable=True))
    op.add_column("usage_logs", sa.Column("reported_nano_usd", sa.BigInteger(), nullable=True))
