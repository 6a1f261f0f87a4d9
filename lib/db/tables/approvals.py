"""Decisions that people are asked for before something acts: the requests, who may decide, and standing grants."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, String, Table, Text

from lib.db.tables.columns import id_column, metadata, moment_column

approvals = Table(
    "approvals",
    metadata,
    id_column(primary_key=True),
    Column("kind", String(16), nullable=False),  # tool, workflow
    Column("state", String(12), nullable=False),  # waiting, approved, denied, expired, withdrawn
    Column("request_key", String(200), unique=True),  # the same question is asked once; NULL: has no key
    Column("title", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("subject", String(200), nullable=False),  # tool:server__name; what a standing grant names
    id_column("user_id"),  # for whom it would run; NULL: the machine's operator
    Column("team_id", Integer, nullable=False, server_default="1"),
    id_column("conversation_id"),
    id_column("call_id"),
    Column("workflow_run_id", String(120)),
    Column("workflow_step", String(120)),
    Column("sealed", Text),  # the data, encrypted by the vault; NULL once nobody needs it
    Column("data_hash", String(64), nullable=False),  # SHA-256 of the data as asked
    Column("data_size", BigInteger, nullable=False),  # bytes
    Column("form_schema", JSON(none_as_null=True)),
    moment_column("asked_at"),
    moment_column("deadline", nullable=True),
    moment_column("escalates_at", nullable=True),
    moment_column("escalated_at", nullable=True),  # when that was told
    moment_column("decided_at", nullable=True),
    id_column("decided_by"),
    Column("decided_by_name", String(80), nullable=False, server_default=""),
    Column("scope", String(16), nullable=False, server_default=""),  # once, conversation, always
    Column("is_edited", Boolean, nullable=False),
    Column("comment", Text, nullable=False),
    moment_column("tell_after", nullable=True),  # whoever asked still has to hear of the decision
    Index(None, "state", "asked_at"),
    Index(None, "tell_after"),
    Index(None, "user_id", "asked_at"),
)


approval_deciders = Table(
    "approval_deciders",
    metadata,
    id_column("approval_id", primary_key=True),
    Column("kind", String(8), primary_key=True),  # person, role, team
    Column("value", String(40), primary_key=True),
    moment_column("since"),  # later than the request for those it escalates to
    Index(None, "kind", "value"),
)


approval_grants = Table(
    "approval_grants",
    metadata,
    id_column(primary_key=True),
    id_column("user_id", nullable=False),  # for whom the subject runs without a question
    Column("team_id", Integer, nullable=False, server_default="1"),
    Column("subject", String(200), nullable=False),
    Column("conversation_id", String(36), nullable=False),  # empty: in every one
    id_column("approval_id", nullable=False),
    Column("granted_by_name", String(80), nullable=False),
    moment_column("granted_at"),
    Index(None, "user_id", "subject"),
)
