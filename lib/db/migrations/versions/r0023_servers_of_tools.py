"""Servers of tools of others: the servers, their state on each machine, approved tools, and who runs them."""

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.column_types import UtcMoment

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "mcp_servers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("transport", sa.String(length=8), nullable=False),
        sa.Column("command", sa.JSON(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("allow_private", sa.Boolean(), nullable=False),
        sa.Column("secret_names", sa.JSON(), nullable=False),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("wanted", sa.String(length=8), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("approved_hash", sa.String(length=64), nullable=True),
        sa.Column("approved_by", sa.String(length=36), nullable=True),
        sa.Column("approved_at", UtcMoment(), nullable=True),
        sa.Column("pinned_version", sa.String(length=320), nullable=True),
        sa.Column("user_id", sa.String(length=36), nullable=True),
        sa.Column("team_id", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.Column("updated_at", UtcMoment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mcp_servers")),
        sa.UniqueConstraint("name", name=op.f("uq_mcp_servers_name")),
    )
    op.create_table(
        "mcp_states",
        sa.Column("server_id", sa.String(length=36), nullable=False),
        sa.Column("machine", sa.String(length=255), nullable=False),
        sa.Column("actual", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", UtcMoment(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("boot_id", sa.String(length=36), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("process_started", sa.BigInteger(), nullable=True),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("protocol", sa.String(length=16), nullable=False),
        sa.Column("server_version", sa.String(length=320), nullable=False),
        sa.Column("tools", sa.JSON(), nullable=True),
        sa.Column("resources", sa.JSON(), nullable=True),
        sa.Column("prompts", sa.JSON(), nullable=True),
        sa.Column("tools_at", UtcMoment(), nullable=True),
        sa.Column("error_text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("server_id", "machine", name=op.f("pk_mcp_states")),
    )
    op.create_table(
        "mcp_pins",
        sa.Column("server_id", sa.String(length=36), nullable=False),
        sa.Column("tool", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("approved_by", sa.String(length=36), nullable=True),
        sa.Column("approved_at", UtcMoment(), nullable=False),
        sa.PrimaryKeyConstraint("server_id", "tool", name=op.f("pk_mcp_pins")),
    )
    op.create_table(
        "mcp_runners",
        sa.Column("machine", sa.String(length=255), nullable=False),
        sa.Column("owner", sa.String(length=36), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("beat_at", UtcMoment(), nullable=False),
        sa.PrimaryKeyConstraint("machine", name=op.f("pk_mcp_runners")),
    )
