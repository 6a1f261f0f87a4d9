"""Tools: those that people registered, what was set on others, every run of one, and turns in which models ran them."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, String, Table, Text, text

from lib.db.tables.columns import id_column, metadata, moment_column

tools = Table(
    "tools",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("source", String(8), nullable=False),  # native, http, mcp; only an HTTP tool is defined here
    Column("definition", JSON, nullable=False, default=dict),  # of an HTTP tool: description, schemas, request
    Column("secret_headers", JSON(none_as_null=True)),  # {"names": […], "sealed": ciphertext}
    Column("is_enabled", Boolean, nullable=False, default=True),
    Column("approval", String(4), nullable=False, default=""),  # auto, ask, deny; empty: by its annotations
    Column("role_approval", JSON, nullable=False, default=dict),  # {role: auto, ask or deny}, on top of `approval`
    Column("roles", JSON, nullable=False, default=list),  # that may use it; empty: every one
    Column("apps", JSON, nullable=False, default=list),  # where it may be used; empty: in every one
    Column("timeout_s", Integer),
    Column("price_nano_usd", BigInteger),  # of one use; NULL: it has none
    Column("revision", Integer, nullable=False, default=1),
    id_column("owner_id"),  # a user; NULL: the machine's operator
    Column("team_id", Integer, nullable=False, default=1, server_default="1"),
    moment_column("created_at"),
    moment_column("updated_at"),
)


tool_executions = Table(
    "tool_executions",
    metadata,
    id_column(primary_key=True),
    moment_column("started_at"),
    moment_column("deadline_at"),  # a run that is open after it lost its process
    Column("tool", String(64), nullable=False),
    Column("source", String(8), nullable=False),
    Column("server", String(64), nullable=False, default=""),
    Column("status", String(20), nullable=False),  # `lib.tools.tool.ExecutionStatus`
    Column("duration_ms", Integer),
    id_column("user_id"),
    id_column("api_key_id"),
    Column("team_id", Integer, nullable=False, default=1, server_default="1"),
    Column("app", String(80), nullable=False),
    Column("origin", String(16), nullable=False),
    id_column("configuration_id"),
    id_column("conversation_id"),
    id_column("call_id"),  # of the model that asked for it
    id_column("turn_id"),  # of that call
    Column("tool_call_id", String(200), nullable=False, default=""),  # the model's own
    Column("session_id", String(120), nullable=False, default=""),
    id_column("workflow_run_id"),
    Column("workflow_step", String(80), nullable=False, default=""),
    id_column("approval_id"),
    Column("reason", Text, nullable=False, default=""),  # why a person was asked
    Column("content_policy", String(12), nullable=False),
    Column("arguments", JSON(none_as_null=True)),  # as the content policy lets them be kept
    Column("arguments_hash", String(64), nullable=False),
    Column("arguments_bytes", Integer, nullable=False),
    Column("result", JSON(none_as_null=True)),  # text, structured, images, question
    Column("result_hash", String(64), nullable=False, default=""),
    Column("result_bytes", Integer, nullable=False, default=0),
    Column("error_message", Text),
    Column("cost_nano_usd", BigInteger),  # NULL: the tool has no price
    Index(None, "started_at", "id"),
    Index(None, "tool", "started_at"),
    Index(None, "user_id", "started_at"),
    Index(None, "call_id"),
    Index(None, "turn_id"),
    Index(
        "ix_tool_executions_open",
        "deadline_at",
        sqlite_where=text("status IN ('running', 'waiting', 'needs_input')"),
        postgresql_where=text("status IN ('running', 'waiting', 'needs_input')"),
    ),
)


tool_turns = Table(
    "tool_turns",
    metadata,
    id_column(primary_key=True),  # = the id of its first call
    id_column("user_id"),
    Column("team_id", Integer, nullable=False, default=1, server_default="1"),
    Column("app", String(80), nullable=False),
    Column("origin", String(16), nullable=False),
    id_column("configuration_id"),
    id_column("conversation_id"),
    Column("state", String(12), nullable=False),  # running, waiting, ok, error, stopped, orphaned
    Column("reason", Text, nullable=False, default=""),  # why it ended otherwise than by an answer
    id_column("process_id"),  # that runs it
    Column("calls", JSON, nullable=False, default=list),  # ids of its model calls, in order
    Column("request", JSON(none_as_null=True)),  # what is needed to go on; NULL: words are not kept, or it has ended
    moment_column("started_at"),
    moment_column("ended_at", nullable=True),
    Index(None, "user_id", "started_at"),
    Index(
        "ix_tool_turns_open",
        "state",
        sqlite_where=text("state IN ('running', 'waiting')"),
        postgresql_where=text("state IN ('running', 'waiting')"),
    ),
)
