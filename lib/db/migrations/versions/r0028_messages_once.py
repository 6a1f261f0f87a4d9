"""Messages of requests that are stored once, and the payloads that refer to them."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"

_HAS_MESSAGES = sa.text("messages_id IS NOT NULL")


def upgrade() -> None:
    """Add two tables and a column that is NULL in every payload there is: those keep their messages inside."""
    op.create_table(
        "message_links",
        sa.Column("id", sa.String(length=43), nullable=False),
        sa.Column("parent_id", sa.String(length=43), nullable=True),
        sa.Column("message_id", sa.String(length=43), nullable=False),
        sa.Column("owner_id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.Integer(), nullable=False, server_default="1"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message_links")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_message_links_parent_id"), "message_links", ["parent_id"])
    op.create_index(op.f("ix_message_links_message_id"), "message_links", ["message_id"])
    op.create_table(
        "stored_messages",
        sa.Column("id", sa.String(length=43), nullable=False),
        sa.Column("owner_id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("message", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stored_messages")),
    )
    op.add_column("usage_payloads", sa.Column("messages_id", sa.String(length=43), nullable=True))
    name = op.f("ix_usage_payloads_messages_id")
    op.create_index(name, "usage_payloads", ["messages_id"], sqlite_where=_HAS_MESSAGES, postgresql_where=_HAS_MESSAGES)
