"""Requests for a person's decision, who may decide them, and standing grants."""

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.column_types import UtcMoment

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Add three tables."""
    op.create_table(
        "approvals",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("request_key", sa.String(length=200), nullable=True),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=True),
        sa.Column("team_id", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("conversation_id", sa.String(length=36), nullable=True),
        sa.Column("call_id", sa.String(length=36), nullable=True),
        sa.Column("workflow_run_id", sa.String(length=120), nullable=True),
        sa.Column("workflow_step", sa.String(length=120), nullable=True),
        sa.Column("sealed", sa.Text(), nullable=True),
        sa.Column("data_hash", sa.String(length=64), nullable=False),
        sa.Column("data_size", sa.BigInteger(), nullable=False),
        sa.Column("form_schema", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("asked_at", UtcMoment, nullable=False),
        sa.Column("deadline", UtcMoment, nullable=True),
        sa.Column("escalates_at", UtcMoment, nullable=True),
        sa.Column("escalated_at", UtcMoment, nullable=True),
        sa.Column("decided_at", UtcMoment, nullable=True),
        sa.Column("decided_by", sa.String(length=36), nullable=True),
        sa.Column("decided_by_name", sa.String(length=80), nullable=False, server_default=""),
        sa.Column("scope", sa.String(length=16), nullable=False, server_default=""),
        sa.Column("is_edited", sa.Boolean(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("tell_after", UtcMoment, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals")),
        sa.UniqueConstraint("request_key", name=op.f("uq_approvals_request_key")),
    )
    op.create_index(op.f("ix_approvals_state_asked_at"), "approvals", ["state", "asked_at"], unique=False)
    op.create_index(op.f("ix_approvals_tell_after"), "approvals", ["tell_after"], unique=False)
    op.create_index(op.f("ix_approvals_user_id_asked_at"), "approvals", ["user_id", "asked_at"], unique=False)
    op.create_table(
        "approval_deciders",
        sa.Column("approval_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("value", sa.String(length=40), nullable=False),
        sa.Column("since", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("approval_id", "kind", "value", name=op.f("pk_approval_deciders")),
    )
    op.create_index(op.f("ix_approval_deciders_kind_value"), "approval_deciders", ["kind", "value"], unique=False)
    op.create_table(
        "approval_grants",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("conversation_id", sa.String(length=36), nullable=False),
        sa.Column("approval_id", sa.String(length=36), nullable=False),
        sa.Column("granted_by_name", sa.String(length=80), nullable=False),
        sa.Column("granted_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval_grants")),
    )
    op.create_index(op.f("ix_approval_grants_user_id_subject"), "approval_grants", ["user_id", "subject"], unique=False)
