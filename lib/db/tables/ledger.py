"""The ledger of model calls.

An attempt in flight is a row of `open_calls`; once ended it is a row of `usage_logs`, whose `change_seq` comes from the
single row of `ledger_clock`: updating that row serialises writers, so sequence order is commit order on both stores,
and a copy that has seen `change_seq = n` has seen everything up to n.
"""

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Index, Integer, String, Table, Text, text

from lib.db.tables.columns import id_column, metadata, moment_column, team_column


def attempt_columns() -> list[Column[Any]]:
    """Build the columns of what is known of an attempt before it is sent."""
    return [
        id_column(primary_key=True),
        id_column("call_id", nullable=False),
        Column("attempt", Integer, nullable=False),
        moment_column("started_at"),
        Column("app", String(80), nullable=False),
        id_column("user_id"),
        id_column("api_key_id"),
        id_column("configuration_id"),
        Column("origin", String(16), nullable=False),
        id_column("conversation_id"),
        Column("session_id", String(120)),  # as the program names what its calls belong together by
        id_column("parent_call_id"),  # the call for whose sake this one was made: a title's, a judge's, a tool's
        id_column("workflow_run_id"),
        Column("workflow_step", String(120)),
        Column("provider", String(80), nullable=False),
        Column("model", String(200), nullable=False),
        Column("streamed", Boolean, nullable=False),
        Column("parameters", JSON, nullable=False),
        Column("tags", JSON, nullable=False),
        Column("lane", String(10)),  # relay: the program's own bytes; translate; NULL: not known (older, imported)
        team_column(),
    ]


open_calls = Table(
    "open_calls",
    metadata,
    *attempt_columns(),
    Column("owner", String(36), nullable=False),  # the process that runs it
    Column("holds", JSON, nullable=False, default=list),
    Column("request", JSON),  # messages as sent; moves to usage_payloads when the call ends
    sqlite_with_rowid=False,
)


usage_logs = Table(
    "usage_logs",
    metadata,
    *attempt_columns(),
    Column("is_final", Boolean, nullable=False),
    Column("calls", Integer, server_default="1"),  # more: an imported sum of so many; NULL: of an unknown number
    moment_column("finished_at"),
    Column("served_model", String(200)),
    Column("status", String(12), nullable=False),
    Column("error_kind", String(32)),
    Column("error_message", Text),
    Column("prompt_tokens", Integer),
    Column("completion_tokens", Integer),
    Column("total_tokens", Integer),
    Column("cache_read_tokens", Integer),
    Column("cache_write_tokens", Integer),
    Column("cache_write_1h_tokens", Integer),  # of the ones before: those kept for an hour
    Column("reasoning_tokens", Integer),
    Column("images", Integer),  # in the prompt
    Column("reported_nano_usd", BigInteger),  # what the provider itself said the attempt cost
    Column("usage_source", String(12), nullable=False),
    Column("cost_nano_usd", BigInteger),
    Column("cost_status", String(12), nullable=False),  # priced, partial (the known part), estimated, free, unpriced
    Column("fees_nano_usd", BigInteger, nullable=False, server_default="0"),  # of the cost: for other than tokens
    Column("service_tier", String(32), nullable=False, server_default=""),  # as served: flex, fast+us; empty: not told
    Column(
        "usage_details", JSON(none_as_null=True)
    ),  # modalities, uses, other models' tokens: `lib.providers.chunks.UsageDetails`
    Column("dropped_fields", Text, nullable=False, server_default=""),  # of the request: what its lane left out
    Column("price_id", String(120)),
    Column("saved_nano_usd", BigInteger),
    Column("cache", String(12), nullable=False, default="none"),  # none; a remembered answer: exact, loose, semantic
    Column("execution_time_ms", Integer),
    Column("first_token_ms", Integer),
    Column("chunks", Integer),
    Column("finish_reason", String(40)),
    Column("batch_id", String(36)),  # NULL for a live call; what an import or the sample data brought, to undo it
    Column("change_seq", BigInteger, nullable=False),
    Index(None, "started_at", "id"),
    Index(None, "user_id", "started_at"),
    Index(None, "call_id"),
    Index(None, "change_seq"),
    *(
        Index(None, name, sqlite_where=text(f"{name} IS NOT NULL"), postgresql_where=text(f"{name} IS NOT NULL"))
        for name in (
            "batch_id",
            "conversation_id",
            "session_id",
            "parent_call_id",
        )  # rows that have none pay nothing for it
    ),
)


imports = Table(
    "imports",
    metadata,
    id_column(primary_key=True),  # = usage_logs.batch_id
    moment_column("at"),
    Column("user_name", String(80), nullable=False),
    Column("file_name", String(200), nullable=False),
    Column("format", String(40), nullable=False),
    Column("state", String(8), nullable=False),  # running, done, undoing
    Column("rows", Integer, nullable=False),
    Column("calls", BigInteger, nullable=False),  # as far as the file says
    Column("left_out", JSON, nullable=False),  # {reason: rows}
    moment_column("first_at", nullable=True),
    moment_column("last_at", nullable=True),
    Column("total_tokens", BigInteger),
    Column("cost_nano_usd", BigInteger),
    Column("unpriced", Integer, nullable=False),  # rows without a cost
    Index(None, "at"),
)


outside_people = Table(
    "outside_people",
    metadata,
    id_column(primary_key=True),  # = usage_logs.user_id of imported rows
    Column("name", String(200), nullable=False),  # as the file names somebody who has no account
)


usage_payloads = Table(
    "usage_payloads",
    metadata,
    id_column(primary_key=True),  # = usage_logs.id
    Column("prompt_text", Text),  # the last user message, as text
    Column("response_text", Text),
    Column("request", JSON),  # messages as sent, where there are few
    Column("response", JSON),  # parts besides text: reasoning, tool calls
    Column("messages_id", String(43)),  # = message_links.id: the last of the messages as sent
    Index(
        None,
        "messages_id",
        sqlite_where=text("messages_id IS NOT NULL"),
        postgresql_where=text("messages_id IS NOT NULL"),
    ),
)


message_links = Table(
    "message_links",
    metadata,
    Column("id", String(43), primary_key=True),  # keyed hash of owner, parent and message
    Column("parent_id", String(43)),  # the link before; NULL: a first message
    Column("message_id", String(43), nullable=False),
    Column("owner_id", String(36), nullable=False),  # = usage_logs.user_id; empty: nobody's
    team_column(),
    Index(None, "parent_id"),
    Index(None, "message_id"),
    sqlite_with_rowid=False,
)


stored_messages = Table(
    "stored_messages",
    metadata,
    Column("id", String(43), primary_key=True),  # keyed hash of owner and message
    Column("owner_id", String(36), nullable=False),
    team_column(),
    Column("message", JSON, nullable=False),  # in the form that the content policy lets be stored
)


custom_metrics = Table(
    "custom_metrics",
    metadata,
    id_column(primary_key=True),
    id_column("call_id", nullable=False),
    moment_column(
        "started_at"
    ),  # the call's, as are app and user: figures need no join, and outlive what is kept of calls
    Column("app", String(80), nullable=False),
    id_column("user_id"),
    id_column("api_key_id"),  # that recorded it
    team_column(),  # the call's
    Column("key", String(80), nullable=False),
    Column("type", String(8), nullable=False),  # string, integer, float, boolean, json
    Column("value", Text, nullable=False),  # a string as it is, the rest as JSON
    Column("number", Double),  # of integers, floats and booleans (1, 0): to be added up
    Column("metadata", JSON, nullable=False, default=dict),
    moment_column("created_at"),
    Index(None, "call_id"),
    Index(None, "key", "started_at"),
    Index(None, "started_at"),
)


ledger_clock = Table(
    "ledger_clock",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("change_seq", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),  # the ledger's own number; raised when rows leave: copies start over
)
