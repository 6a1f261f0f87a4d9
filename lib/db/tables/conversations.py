"""Conversations as trees of messages, with files and summaries."""

from sqlalchemy import JSON, Boolean, Column, Index, Integer, LargeBinary, String, Table, Text, text

from lib.db.tables.columns import id_column, metadata, moment_column, team_column

conversations = Table(
    "conversations",
    metadata,
    id_column(primary_key=True),
    id_column("owner_id", nullable=False),  # a user
    Column("app", String(80), nullable=False),
    Column("title", String(200), nullable=False, default=""),
    Column("title_source", String(8), nullable=False, default=""),  # question, model, own; empty: none yet
    id_column("title_call_id"),  # that is to name it
    Column("folder", String(80), nullable=False, default=""),
    Column("tags", JSON, nullable=False, default=list),
    Column("is_pinned", Boolean, nullable=False, default=False),
    Column("is_archived", Boolean, nullable=False, default=False),
    moment_column("ended_at", nullable=True),
    Column("ttl_s", Integer),  # seconds after the last message; NULL: it does not expire
    moment_column("expires_at", nullable=True),
    id_column("configuration_id"),
    Column("system_prompt", Text),  # NULL: the configuration's
    Column("context", JSON, nullable=False, default=dict),  # strategy: what of the history is sent
    id_column("leaf_id"),  # the last message of the branch that is shown
    Column("source", String(16), nullable=False, default=""),  # openai, open-webui, librechat; empty: made here
    Column("source_id", String(120), nullable=False, default=""),
    team_column(),
    moment_column("created_at"),
    moment_column("last_at"),  # of the newest message
    Index(None, "owner_id", "last_at"),
)


messages = Table(
    "messages",
    metadata,
    Column("seq", Integer, primary_key=True),  # names the row to the full-text index
    id_column(nullable=False, unique=True),
    id_column("conversation_id", nullable=False),
    id_column("owner_id", nullable=False),
    id_column("parent_id"),  # NULL: a first message
    Column("role", String(12), nullable=False),  # user, assistant, tool, system
    Column("content", Text, nullable=False),
    Column("parts", JSON, nullable=False, default=list),  # attachments, tool calls, reasoning
    Column("tokens", Integer, nullable=False),  # estimated
    Column("status", String(12), nullable=False),  # running, then as the call ended
    Column("error_message", Text),
    id_column("call_id"),  # that made it; of a turn with tools the first one, which is tool_turns.id
    Column("earlier_call_ids", JSON, nullable=False, server_default="[]"),  # not used: tool_turns.calls has them
    id_column("turn_process_id"),  # not used: tool_turns.process_id is the process of a turn
    id_column("configuration_id"),
    Column("model", String(200), nullable=False, default=""),
    moment_column("created_at"),
    Index(None, "conversation_id"),
    Index("ix_messages_owner_id_seq", "owner_id", "seq"),  # whose a message is, without reading it
    Index(
        "ix_messages_running",
        "owner_id",
        sqlite_where=text("status = 'running'"),
        postgresql_where=text("status = 'running'"),
    ),
)


conversation_files = Table(
    "conversation_files",
    metadata,
    id_column(primary_key=True),
    id_column("conversation_id", nullable=False),
    id_column("owner_id", nullable=False),
    Column("name", String(200), nullable=False),
    Column("media_type", String(80), nullable=False),
    Column("size", Integer, nullable=False),  # bytes
    Column("data", LargeBinary, nullable=False),
    moment_column("created_at"),
    Index(None, "conversation_id"),
    Index(None, "owner_id"),
)


conversation_summaries = Table(
    "conversation_summaries",
    metadata,
    id_column(primary_key=True),
    id_column("conversation_id", nullable=False),
    id_column("owner_id", nullable=False),
    id_column("until_id", nullable=False),  # the last message it stands for
    Column("text", Text),  # NULL: the call failed, so the messages are left out without one
    id_column("call_id"),
    Column("error_message", Text),
    Column("tokens", Integer, nullable=False),
    moment_column("created_at"),
    Index(None, "conversation_id"),
)
