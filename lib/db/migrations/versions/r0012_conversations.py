"""Conversations: their messages, files and summaries, and the full-text index over what was said."""

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.column_types import UtcMoment

revision = "0012"
down_revision = "0011"
_RUNNING = sa.text("status = 'running'")
_OF_CONVERSATIONS = sa.text("conversation_id IS NOT NULL")
_FTS5 = (
    "CREATE VIRTUAL TABLE message_words USING fts5("
    "content, content='messages', content_rowid='seq', tokenize='unicode61 remove_diacritics 2', prefix='3 4 5')",
    "CREATE TRIGGER message_words_insert AFTER INSERT ON messages BEGIN "
    "INSERT INTO message_words(rowid, content) VALUES (new.seq, new.content); END",
    "CREATE TRIGGER message_words_delete AFTER DELETE ON messages BEGIN "
    "INSERT INTO message_words(message_words, rowid, content) VALUES ('delete', old.seq, old.content); END",
    "CREATE TRIGGER message_words_update AFTER UPDATE OF content ON messages BEGIN "
    "INSERT INTO message_words(message_words, rowid, content) VALUES ('delete', old.seq, old.content); "
    "INSERT INTO message_words(rowid, content) VALUES (new.seq, new.content); END",
)
# a tsvector holds a megabyte at most: of a longer message its beginning is searched
_GIN = "CREATE INDEX message_words ON messages USING gin (to_tsvector('simple', left(content, 200000)))"


def _text(name: str, length: int, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=null)


def upgrade() -> None:
    """Add four tables and the index; the ledger can be asked for a conversation's calls."""
    op.create_table(
        "conversations",
        _text("id", 36),
        _text("owner_id", 36),
        _text("app", 80),
        _text("title", 200),
        _text("title_source", 8),
        _text("title_call_id", 36, null=True),
        _text("folder", 80),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("is_pinned", sa.Boolean(), nullable=False),
        sa.Column("is_archived", sa.Boolean(), nullable=False),
        sa.Column("ended_at", UtcMoment, nullable=True),
        sa.Column("ttl_s", sa.Integer(), nullable=True),
        sa.Column("expires_at", UtcMoment, nullable=True),
        _text("configuration_id", 36, null=True),
        sa.Column("system_prompt", sa.Text(), nullable=True),
        sa.Column("context", sa.JSON(), nullable=False),
        _text("leaf_id", 36, null=True),
        _text("source", 16),
        _text("source_id", 120),
        sa.Column("created_at", UtcMoment, nullable=False),
        sa.Column("last_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
    )
    op.create_index(op.f("ix_conversations_owner_id_last_at"), "conversations", ["owner_id", "last_at"])
    op.create_table(
        "messages",
        sa.Column("seq", sa.Integer(), nullable=False),
        _text("id", 36),
        _text("conversation_id", 36),
        _text("owner_id", 36),
        _text("parent_id", 36, null=True),
        _text("role", 12),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        _text("status", 12),
        sa.Column("error_message", sa.Text(), nullable=True),
        _text("call_id", 36, null=True),
        _text("configuration_id", 36, null=True),
        _text("model", 200),
        sa.Column("created_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_messages")),
        sa.UniqueConstraint("id", name=op.f("uq_messages_id")),
    )
    op.create_index(op.f("ix_messages_conversation_id"), "messages", ["conversation_id"])
    op.create_index(op.f("ix_messages_owner_id_seq"), "messages", ["owner_id", "seq"])
    op.create_index(
        op.f("ix_messages_running"), "messages", ["owner_id"], sqlite_where=_RUNNING, postgresql_where=_RUNNING
    )
    op.create_table(
        "conversation_files",
        _text("id", 36),
        _text("conversation_id", 36),
        _text("owner_id", 36),
        _text("name", 200),
        _text("media_type", 80),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversation_files")),
    )
    op.create_index(op.f("ix_conversation_files_conversation_id"), "conversation_files", ["conversation_id"])
    op.create_index(op.f("ix_conversation_files_owner_id"), "conversation_files", ["owner_id"])
    op.create_table(
        "conversation_summaries",
        _text("id", 36),
        _text("conversation_id", 36),
        _text("owner_id", 36),
        _text("until_id", 36),
        sa.Column("text", sa.Text(), nullable=True),
        _text("call_id", 36, null=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversation_summaries")),
    )
    op.create_index(op.f("ix_conversation_summaries_conversation_id"), "conversation_summaries", ["conversation_id"])
    op.create_index(
        op.f("ix_usage_logs_conversation_id"),
        "usage_logs",
        ["conversation_id"],
        sqlite_where=_OF_CONVERSATIONS,
        postgresql_where=_OF_CONVERSATIONS,
    )
    for statement in _FTS5 if op.get_bind().dialect.name == "sqlite" else (_GIN,):
        op.execute(statement)
