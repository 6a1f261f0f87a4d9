"""Tools: those registered, every run of one, turns in which models ran them, and which a configuration has."""

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.column_types import UtcMoment

revision = "0019"
down_revision = "0018"

_OPEN_RUN = sa.text("status IN ('running', 'waiting', 'needs_input')")
_OPEN_TURN = sa.text("state IN ('running', 'waiting')")


def _text(name: str, length: int, *, nullable: bool) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=nullable)


def upgrade() -> None:
    """Add three tables and a column with a constant default."""
    op.add_column("configurations", sa.Column("tools", sa.JSON(), nullable=False, server_default="{}"))
    op.create_table(
        "tools",
        _text("name", 64, nullable=False),
        _text("source", 8, nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("secret_headers", sa.JSON(), nullable=True),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        _text("approval", 4, nullable=False),
        sa.Column("role_approval", sa.JSON(), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("apps", sa.JSON(), nullable=False),
        sa.Column("timeout_s", sa.Integer(), nullable=True),
        sa.Column("price_nano_usd", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        _text("owner_id", 36, nullable=True),
        sa.Column("team_id", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("created_at", UtcMoment, nullable=False),
        sa.Column("updated_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tools")),
    )
    op.create_table(
        "tool_executions",
        _text("id", 36, nullable=False),
        sa.Column("started_at", UtcMoment, nullable=False),
        sa.Column("deadline_at", UtcMoment, nullable=False),
        _text("tool", 64, nullable=False),
        _text("source", 8, nullable=False),
        _text("server", 64, nullable=False),
        _text("status", 20, nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        _text("user_id", 36, nullable=True),
        _text("api_key_id", 36, nullable=True),
        sa.Column("team_id", sa.Integer(), nullable=False, server_default="1"),
        _text("app", 80, nullable=False),
        _text("origin", 16, nullable=False),
        *(_text(name, 36, nullable=True) for name in ("configuration_id", "conversation_id", "call_id", "turn_id")),
        _text("tool_call_id", 200, nullable=False),
        _text("session_id", 120, nullable=False),
        _text("workflow_run_id", 36, nullable=True),
        _text("workflow_step", 80, nullable=False),
        _text("approval_id", 36, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        _text("content_policy", 12, nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=True),
        _text("arguments_hash", 64, nullable=False),
        sa.Column("arguments_bytes", sa.Integer(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        _text("result_hash", 64, nullable=False),
        sa.Column("result_bytes", sa.Integer(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("cost_nano_usd", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tool_executions")),
    )
    for columns in (["started_at", "id"], ["tool", "started_at"], ["user_id", "started_at"], ["call_id"], ["turn_id"]):
        op.create_index(op.f(f"ix_tool_executions_{'_'.join(columns)}"), "tool_executions", columns)
    op.create_index(
        "ix_tool_executions_open",
        "tool_executions",
        ["deadline_at"],
        sqlite_where=_OPEN_RUN,
        postgresql_where=_OPEN_RUN,
    )
    op.create_table(
        "tool_turns",
        _text("id", 36, nullable=False),
        _text("user_id", 36, nullable=True),
        sa.Column("team_id", sa.Integer(), nullable=False, server_default="1"),
        _text("app", 80, nullable=False),
        _text("origin", 16, nullable=False),
        _text("configuration_id", 36, nullable=True),
        _text("conversation_id", 36, nullable=True),
        _text("state", 12, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        _text("process_id", 36, nullable=True),
        sa.Column("calls", sa.JSON(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=True),
        sa.Column("started_at", UtcMoment, nullable=False),
        sa.Column("ended_at", UtcMoment, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tool_turns")),
    )
    op.create_index(op.f("ix_tool_turns_user_id_started_at"), "tool_turns", ["user_id", "started_at"])
    op.create_index("ix_tool_turns_open", "tool_turns", ["state"], sqlite_where=_OPEN_TURN, postgresql_where=_OPEN_TURN)
