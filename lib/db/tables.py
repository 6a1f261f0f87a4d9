"""All tables on one MetaData: users and sessions, providers and configurations, and the ledger of model calls.

Every moment is UTC (`UtcDateTime`: sortable text in SQLite, timestamptz in PostgreSQL). Ids are UUIDv7 text. Money is
integer nano-dollars. An attempt in flight is a row of `open_calls`; once ended it is a row of `usage_logs`, whose
`change_seq` comes from the single row of `ledger_clock`: updating that row serialises writers, so sequence order is
commit order on both stores, and a copy that has seen `change_seq = n` has seen everything up to n.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime; naive values are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware to UTC; SQLite keeps no zone, so it is dropped after conversion."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def bind_processor(self, dialect: Dialect) -> Any:
        """On SQLite straight to the text that is stored."""
        return _sqlite_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Back to aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _sqlite_text(value: datetime | None) -> str | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    return utc.isoformat(" ", "microseconds")[:26]


def _id(name: str = "id", **options: Any) -> Column[str]:
    return Column(name, String(36), **options)


def _moment(name: str, nullable: bool = False) -> Column[datetime]:
    return Column(name, UtcDateTime, nullable=nullable)


users = Table(
    "users",
    metadata,
    _id(primary_key=True),
    Column("name", String(80), nullable=False),
    Column("name_key", String(80), nullable=False, unique=True),  # casefolded, so that Amira and amira are one
    Column("password_hash", Text, nullable=False),
    Column("role", String(32), nullable=False),
    Column("is_active", Boolean, nullable=False, default=True),
    _moment("created_at"),
    _moment("last_login_at", nullable=True),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),  # SHA-256 of the cookie's token
    _id("user_id", nullable=False),
    _moment("created_at"),
    _moment("last_seen_at"),
    _moment("expires_at"),
    Column("user_agent", String(200), nullable=False, default=""),
    Index(None, "user_id"),
)

login_failures = Table(
    "login_failures",
    metadata,
    Column("subject", String(64), primary_key=True),  # SHA-256 of the user name or of the network address
    Column("failures", Integer, nullable=False),
    _moment("last_failed_at"),
)

user_preferences = Table(
    "user_preferences",
    metadata,
    _id("user_id", primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("value", JSON, nullable=False),
    _moment("updated_at"),
)

vault_keys = Table(
    "vault_keys",
    metadata,
    Column("key_id", String(16), primary_key=True),
    Column("canary", Text, nullable=False),  # a known text under this key: tells a wrong key before it does harm
    _moment("created_at"),
)

providers = Table(
    "providers",
    metadata,
    _id(primary_key=True),
    Column("name", String(80), nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("base_url", Text, nullable=False, default=""),
    Column("key_ciphertext", Text),
    Column("key_last4", String(4)),
    Column("key_host", Text),  # the host the key was saved for; another host means the key is not sent
    Column("headers", JSON, nullable=False, default=dict),
    Column("organisation", String(120), nullable=False, default=""),
    Column("allow_private", Boolean, nullable=False, default=False),
    Column("is_active", Boolean, nullable=False, default=True),
    Column("last_check", JSON),  # {"ok", "at", "latency_ms", "message"} of the newest connection test
    _moment("created_at"),
    _moment("updated_at"),
)

configurations = Table(
    "configurations",
    metadata,
    _id(primary_key=True),
    Column("slug", String(80), nullable=False, unique=True),
    Column("app", String(80), nullable=False),
    Column("description", Text, nullable=False, default=""),
    _id("provider_id", nullable=True),
    Column("model", String(200), nullable=False),
    Column("system_prompt", Text, nullable=False, default=""),
    Column("parameters", JSON, nullable=False, default=dict),
    Column("capabilities", JSON, nullable=False, default=list),  # of vision, tools, streaming, json
    Column("routing", JSON, nullable=False, default=dict, server_default="{}"),  # deployments, fallbacks, deadlines
    Column("content_policy", String(12), nullable=False, default="full", server_default="full"),
    Column("unsupported_parameters", String(8), nullable=False, default="refuse", server_default="refuse"),
    Column("is_active", Boolean, nullable=False, default=True),
    Column("is_default", Boolean, nullable=False, default=False),  # for its app
    Column("is_global_default", Boolean, nullable=False, default=False),
    Column("revision", Integer, nullable=False, default=1),  # an edit names the revision it saw
    _moment("created_at"),
    _moment("updated_at"),
    Index(None, "app"),
    Index(None, "provider_id"),
)


def _attempt() -> list[Column[Any]]:
    """Build the columns of what is known of an attempt before it is sent."""
    return [
        _id(primary_key=True),
        _id("call_id", nullable=False),
        Column("attempt", Integer, nullable=False),
        _moment("started_at"),
        Column("app", String(80), nullable=False),
        _id("user_id"),
        _id("api_key_id"),
        _id("configuration_id"),
        Column("origin", String(16), nullable=False),
        _id("conversation_id"),
        _id("workflow_run_id"),
        Column("workflow_step", String(120)),
        Column("provider", String(80), nullable=False),
        Column("model", String(200), nullable=False),
        Column("streamed", Boolean, nullable=False),
        Column("parameters", JSON, nullable=False),
        Column("tags", JSON, nullable=False),
        Column("lane", String(10)),  # relay: the program's own bytes; translate; NULL: not known (older, imported)
    ]


open_calls = Table(
    "open_calls",
    metadata,
    *_attempt(),
    Column("owner", String(36), nullable=False),  # the process that runs it
    Column("holds", JSON, nullable=False, default=list),
    Column("request", JSON),  # messages as sent; moves to usage_payloads when the call ends
    sqlite_with_rowid=False,
)

usage_logs = Table(
    "usage_logs",
    metadata,
    *_attempt(),
    Column("is_final", Boolean, nullable=False),
    Column("calls", Integer, server_default="1"),  # more: an imported sum of so many; NULL: of an unknown number
    _moment("finished_at"),
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
    Column("cache", String(12), nullable=False, default="none"),
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
        for name in ("batch_id", "conversation_id")  # rows that have none pay nothing for it
    ),
)

imports = Table(
    "imports",
    metadata,
    _id(primary_key=True),  # = usage_logs.batch_id
    _moment("at"),
    Column("user_name", String(80), nullable=False),
    Column("file_name", String(200), nullable=False),
    Column("format", String(40), nullable=False),
    Column("state", String(8), nullable=False),  # running, done, undoing
    Column("rows", Integer, nullable=False),
    Column("calls", BigInteger, nullable=False),  # as far as the file says
    Column("left_out", JSON, nullable=False),  # {reason: rows}
    _moment("first_at", nullable=True),
    _moment("last_at", nullable=True),
    Column("total_tokens", BigInteger),
    Column("cost_nano_usd", BigInteger),
    Column("unpriced", Integer, nullable=False),  # rows without a cost
    Index(None, "at"),
)

outside_people = Table(
    "outside_people",
    metadata,
    _id(primary_key=True),  # = usage_logs.user_id of imported rows
    Column("name", String(200), nullable=False),  # as the file names somebody who has no account
)

usage_payloads = Table(
    "usage_payloads",
    metadata,
    _id(primary_key=True),  # = usage_logs.id
    Column("prompt_text", Text),  # the last user message, as text
    Column("response_text", Text),
    Column("request", JSON),  # messages as sent
    Column("response", JSON),  # parts besides text: reasoning, tool calls
)

custom_metrics = Table(
    "custom_metrics",
    metadata,
    _id(primary_key=True),
    _id("call_id", nullable=False),
    _moment("started_at"),  # the call's, as are app and user: figures need no join, and outlive what is kept of calls
    Column("app", String(80), nullable=False),
    _id("user_id"),
    _id("api_key_id"),  # that recorded it
    Column("key", String(80), nullable=False),
    Column("type", String(8), nullable=False),  # string, integer, float, boolean, json
    Column("value", Text, nullable=False),  # a string as it is, the rest as JSON
    Column("number", Double),  # of integers, floats and booleans (1, 0): to be added up
    Column("metadata", JSON, nullable=False, default=dict),
    _moment("created_at"),
    Index(None, "call_id"),
    Index(None, "key", "started_at"),
    Index(None, "started_at"),
)

saved_views = Table(
    "saved_views",
    metadata,
    _id(primary_key=True),
    _id("user_id"),
    Column("name", String(80), nullable=False),
    Column("query", JSON, nullable=False),  # an address's: names and lists of values
    Column("is_shared", Boolean, nullable=False, default=False),
    Column("is_pinned", Boolean, nullable=False, default=False),
    _moment("created_at"),
    Index(None, "user_id"),
)

playground_runs = Table(
    "playground_runs",
    metadata,
    _id(primary_key=True),
    _id("user_id"),
    _moment("created_at"),
    Column("is_shared", Boolean, nullable=False, default=False),
    Column("is_blind", Boolean, nullable=False, default=False),
    Column("winner", Integer),  # a pane's position, -1 for a draw, NULL before the vote
    Index(None, "user_id", "created_at"),
)

playground_panes = Table(
    "playground_panes",
    metadata,
    _id("run_id", primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    _id("configuration_id"),
    Column("slug", String(200), nullable=False),  # as it was asked for
    Column("parameters", JSON, nullable=False),
    _id("call_id"),  # NULL where nothing was sent
    Column("error", Text),  # why not
)

prompt_templates = Table(
    "prompt_templates",
    metadata,
    _id(primary_key=True),
    Column("slug", String(80), nullable=False, unique=True),
    Column("app", String(80)),  # NULL: for every app
    Column("category", String(80), nullable=False, default=""),
    Column("description", Text, nullable=False, default=""),
    Column("newest", Integer, nullable=False),  # version: a new one names the one it was made from
    _moment("created_at"),
    _moment("updated_at"),
)

prompt_versions = Table(
    "prompt_versions",
    metadata,
    _id("template_id", primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    Column("system_prompt", Text),  # NULL: the configuration's own
    Column("variables", JSON, nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    _id("user_id"),
    Column("user_name", String(80), nullable=False),
    _moment("created_at"),
)

prompt_labels = Table(
    "prompt_labels",
    metadata,
    _id("template_id", primary_key=True),
    Column("label", String(80), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("user_name", String(80), nullable=False),  # who moved it last
    _moment("moved_at"),
)

experiments = Table(
    "experiments",
    metadata,
    _id(primary_key=True),
    _id("user_id"),
    Column("name", String(120), nullable=False),
    Column("state", String(12), nullable=False),  # ready, running, stopped, capped, done
    Column("reason", Text, nullable=False, default=""),  # why it stopped
    Column("candidates", JSON, nullable=False),
    Column("scorers", JSON, nullable=False),
    Column("columns", JSON, nullable=False),  # of the table, in order
    Column("parallel", Integer, nullable=False),
    Column("cap_nano_usd", BigInteger),
    _id("owner"),  # the runner at work
    _moment("seen_at", nullable=True),  # its sign of life
    Column("stop_asked", Boolean, nullable=False, default=False),
    _moment("created_at"),
    Index(None, "user_id", "created_at"),
)

experiment_rows = Table(
    "experiment_rows",
    metadata,
    _id("experiment_id", primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("inputs", JSON, nullable=False),
)

experiment_cells = Table(
    "experiment_cells",
    metadata,
    _id("experiment_id", primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("candidate", Integer, primary_key=True, autoincrement=False),
    Column("state", String(8), nullable=False),  # waiting, asked, done, failed
    _id("call_id"),
    _id("judge_call_id"),
    Column("calls", JSON, nullable=False),  # every call ever made for it, also stopped ones
    Column("cost_nano_usd", BigInteger),  # of all those; NULL: unknown
    Column("scores", JSON, nullable=False),  # {kind: 0 to 1, or null}
    Column("notes", JSON, nullable=False),  # {kind: why}
    Column("error", Text),
)

prices = Table(
    "prices",
    metadata,
    _id(primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("model", String(200), nullable=False),
    _moment("valid_from"),
    Column("rates", JSON, nullable=False),  # nano-dollars per million tokens, per image, per request; tiers
    Column("source", String(200), nullable=False),
    _id("created_by"),
    _moment("created_at"),
    UniqueConstraint("kind", "model", "valid_from"),
)

overrides = Table(
    "overrides",
    metadata,
    _id(primary_key=True),
    Column("name", String(80), nullable=False),
    Column("app", String(80)),  # NULL: any
    Column("context", String(80)),
    _id("configuration_id"),
    Column("strategy", String(12), nullable=False),  # replace, merge, deep_merge
    Column("priority", Integer, nullable=False, default=0),
    Column("parameters", JSON, nullable=False, default=dict),
    Column("is_active", Boolean, nullable=False, default=True),
    _moment("created_at"),
    _moment("updated_at"),
)

model_lists = Table(
    "model_lists",
    metadata,
    _id("provider_id", primary_key=True),
    Column("models", JSON, nullable=False),  # the last good list
    _moment("fetched_at", nullable=True),
    _moment("tried_at"),
    Column("error", Text),  # of the newest try
)

circuits = Table(
    "circuits",
    metadata,
    _id("provider_id", primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("failures", Integer, nullable=False),
    _moment("opened_at", nullable=True),
    _moment("open_until", nullable=True),
    Column("reason", Text, nullable=False, default=""),
    _moment("updated_at"),
)

audit_log = Table(
    "audit_log",
    metadata,
    _id(primary_key=True),
    _moment("at"),
    _id("user_id"),
    Column("user_name", String(80), nullable=False),
    Column("came_from", String(80)),  # page 192.0.2.7, gateway 192.0.2.7, command line ben@host, job
    Column("action", String(40), nullable=False),  # prices.import, key.rotate…
    Column("subject", String(200), nullable=False),
    Column("detail", JSON, nullable=False, default=dict),
    Index(None, "at"),
)

installation_settings = Table(
    "installation_settings",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", JSON, nullable=False),
    _moment("updated_at"),
)

ledger_clock = Table(
    "ledger_clock",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("change_seq", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),  # the ledger's own number; raised when rows leave: copies start over
)

processes = Table(
    "processes",
    metadata,
    _id(primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    _moment("started_at"),
    _moment("seen_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(primary_key=True),
    Column("name", String(80), nullable=False),
    Column("prefix", String(12), nullable=False),  # the key's first characters, to recognise it
    Column("hash", String(64), nullable=False, unique=True),  # SHA-256 of the key
    Column("app", String(80), nullable=False),
    _id("user_id"),  # its owner; NULL: a program's own key
    Column("scopes", JSON, nullable=False),  # {"models": [patterns], "endpoints": [names]}
    Column("requests_per_minute", Integer),
    Column("tokens_per_minute", Integer),
    Column("concurrency", Integer),
    _moment("expires_at", nullable=True),
    _moment("revoked_at", nullable=True),
    _moment("last_used_at", nullable=True),
    _moment("created_at"),
    _id("created_by"),
    Index(None, "user_id"),
)

rate_counters = Table(
    "rate_counters",
    metadata,
    Column("subject", String(120), primary_key=True),  # key:ID or app:NAME
    Column("seconds", JSON, nullable=False),  # of the last minute: [[Unix seconds], [requests], [tokens]]
)

budgets = Table(
    "budgets",
    metadata,
    _id(primary_key=True),
    Column("scope", String(16), nullable=False),  # global, provider, configuration, app, user, key
    Column("subject", String(80), nullable=False),  # as the ledger's rows name it; empty for global
    Column("period", String(8), nullable=False),  # day, week, month
    Column("limit_nano_usd", BigInteger, nullable=False),
    Column("is_hard", Boolean, nullable=False),
    Column("thresholds", JSON, nullable=False),  # percent of the limit
    Column("block_unpriced", Boolean, nullable=False),
    _moment("window_starts_at"),  # the newest window: a clock that steps back does not reopen an older one
    _moment("created_at"),
    _moment("updated_at"),
    UniqueConstraint("scope", "subject", "period"),
)

budget_windows = Table(
    "budget_windows",
    metadata,
    _id("budget_id", primary_key=True),
    Column("starts_at", UtcDateTime, primary_key=True),
    _moment("ends_at"),
    Column("limit_nano_usd", BigInteger, nullable=False),  # the budget's while the window lasts; then as it was
    Column("spent_nano_usd", BigInteger, nullable=False),
    Column("held_nano_usd", BigInteger, nullable=False),
    Column("unpriced_calls", Integer, nullable=False),  # attempts of unknown cost, not in what was spent
)

budget_holds = Table(
    "budget_holds",
    metadata,
    _id("log_id", primary_key=True),  # = open_calls.id = usage_logs.id; of a lease: = processes.id
    _id("budget_id", primary_key=True),
    _moment("starts_at"),  # the window that took it
    Column("amount_nano_usd", BigInteger, nullable=False),  # 0 where the price is unknown
    _moment("expires_at"),  # then the sweep asks the ledger what became of the call
    sqlite_with_rowid=False,
)

budget_notices = Table(
    "budget_notices",
    metadata,
    _id("budget_id", primary_key=True),
    Column("starts_at", UtcDateTime, primary_key=True),
    Column("threshold", Integer, primary_key=True),  # percent; 0: a call was refused
    _moment("at"),
    Column("spent_nano_usd", BigInteger, nullable=False),
    Column("limit_nano_usd", BigInteger, nullable=False),
    Index(None, "at"),
)

webhook_outbox = Table(
    "webhook_outbox",
    metadata,
    _id(primary_key=True),
    Column("event", String(40), nullable=False),  # budget.threshold…
    Column("body", JSON, nullable=False),
    _moment("created_at"),
    Column("attempts", Integer, nullable=False),
    _moment("due_at", nullable=True),  # NULL: delivered, or given up
    _moment("delivered_at", nullable=True),
    Column("error", Text),  # of the newest try
    Index(None, "due_at"),
)

conversations = Table(
    "conversations",
    metadata,
    _id(primary_key=True),
    _id("owner_id", nullable=False),  # a user
    Column("app", String(80), nullable=False),
    Column("title", String(200), nullable=False, default=""),
    Column("title_source", String(8), nullable=False, default=""),  # question, model, own; empty: none yet
    _id("title_call_id"),  # that is to name it
    Column("folder", String(80), nullable=False, default=""),
    Column("tags", JSON, nullable=False, default=list),
    Column("is_pinned", Boolean, nullable=False, default=False),
    Column("is_archived", Boolean, nullable=False, default=False),
    _moment("ended_at", nullable=True),
    Column("ttl_s", Integer),  # seconds after the last message; NULL: it does not expire
    _moment("expires_at", nullable=True),
    _id("configuration_id"),
    Column("system_prompt", Text),  # NULL: the configuration's
    Column("context", JSON, nullable=False, default=dict),  # strategy: what of the history is sent
    _id("leaf_id"),  # the last message of the branch that is shown
    Column("source", String(16), nullable=False, default=""),  # openai, open-webui, librechat; empty: made here
    Column("source_id", String(120), nullable=False, default=""),
    _moment("created_at"),
    _moment("last_at"),  # of the newest message
    Index(None, "owner_id", "last_at"),
)

messages = Table(
    "messages",
    metadata,
    Column("seq", Integer, primary_key=True),  # names the row to the full-text index
    _id(nullable=False, unique=True),
    _id("conversation_id", nullable=False),
    _id("owner_id", nullable=False),
    _id("parent_id"),  # NULL: a first message
    Column("role", String(12), nullable=False),  # user, assistant, tool, system
    Column("content", Text, nullable=False),
    Column("parts", JSON, nullable=False, default=list),  # attachments, tool calls, reasoning
    Column("tokens", Integer, nullable=False),  # estimated
    Column("status", String(12), nullable=False),  # running, then as the call ended
    Column("error_message", Text),
    _id("call_id"),  # that made it
    _id("configuration_id"),
    Column("model", String(200), nullable=False, default=""),
    _moment("created_at"),
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
    _id(primary_key=True),
    _id("conversation_id", nullable=False),
    _id("owner_id", nullable=False),
    Column("name", String(200), nullable=False),
    Column("media_type", String(80), nullable=False),
    Column("size", Integer, nullable=False),  # bytes
    Column("data", LargeBinary, nullable=False),
    _moment("created_at"),
    Index(None, "conversation_id"),
    Index(None, "owner_id"),
)

conversation_summaries = Table(
    "conversation_summaries",
    metadata,
    _id(primary_key=True),
    _id("conversation_id", nullable=False),
    _id("owner_id", nullable=False),
    _id("until_id", nullable=False),  # the last message it stands for
    Column("text", Text),  # NULL: the call failed, so the messages are left out without one
    _id("call_id"),
    Column("error_message", Text),
    Column("tokens", Integer, nullable=False),
    _moment("created_at"),
    Index(None, "conversation_id"),
)

exchange_rates = Table(
    "exchange_rates",
    metadata,
    Column("currency", String(3), primary_key=True),  # ISO 4217
    Column("day", Date, primary_key=True),
    Column("per_usd", String(40), nullable=False),  # a decimal: units of it for one dollar
)

collections = Table(
    "collections",
    metadata,
    _id(primary_key=True),
    _id("owner_id", nullable=False),  # a user
    Column("name", String(120), nullable=False),
    Column("description", Text, nullable=False, default=""),
    Column("is_shared", Boolean, nullable=False, default=False),  # read by all who may use models
    Column("embedding_model", String(200), nullable=False),  # provider/model, for the call path
    Column("chunking", JSON, nullable=False, default=dict),  # strategy, size, overlap
    Column("search", JSON, nullable=False, default=dict),  # what a question uses unless it says otherwise: mode, k
    Column("change_seq", BigInteger, nullable=False, default=0),  # grows with what is found: indexes follow it
    _moment("created_at"),
    _moment("updated_at"),
    Index(None, "owner_id"),
)

documents = Table(
    "documents",
    metadata,
    _id(primary_key=True),
    _id("collection_id", nullable=False),
    Column("title", String(300), nullable=False),
    Column("kind", String(10), nullable=False),  # manual, faq, api_doc, code
    Column("tags", JSON, nullable=False, default=list),
    Column("dated", Date),  # the day it is of, where somebody said
    Column("source", String(10), nullable=False),  # upload, paste, url, command
    Column("source_name", String(2000), nullable=False, default=""),
    Column("media_type", String(120), nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes of the newest version
    Column("sha256", String(64), nullable=False),
    Column("language", String(20), nullable=False, default=""),
    Column("state", String(10), nullable=False),  # queued, parsing, embedding, ready, partial, failed
    Column("error", Text),  # why it failed; of a partial one what share of its words was read
    Column("chunks_total", Integer, nullable=False, default=0),
    Column("chunks_done", Integer, nullable=False, default=0),
    Column("version", Integer, nullable=False, default=1),  # the newest, which may still be worked on
    Column("serving_version", Integer),  # what is found; NULL until the first is whole
    _id("worker_id"),  # the process that works on it
    _moment("worker_until", nullable=True),
    Column("interruptions", Integer, nullable=False, default=0, server_default="0"),  # processes that died over it
    _id("created_by"),
    _moment("created_at"),
    _moment("updated_at"),
    Index(None, "collection_id", "sha256"),
    Index(None, "state"),
)

document_versions = Table(
    "document_versions",
    metadata,
    _id("document_id", primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("original", LargeBinary, nullable=False),
    Column("text", Text),  # as parsed; the offsets of chunks count its characters
    Column("page_starts", JSON),  # the offset of each page, where there are pages
)

chunks = Table(
    "chunks",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    _id("collection_id", nullable=False),
    _id("document_id", nullable=False),
    Column("version", Integer, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("start", Integer, nullable=False),  # offsets in the document's text
    Column("end", Integer, nullable=False),
    Column("page_first", Integer),
    Column("page_last", Integer),
    Column("heading", String(300), nullable=False, default=""),
    Column("text", Text, nullable=False),
    Column("words", Text, nullable=False, default=""),  # its stems, for the search by words
    Column("text_sha256", String(64), nullable=False),
    Column("is_edited", Boolean, nullable=False, default=False),
    Index(None, "document_id", "version", "ordinal"),
    Index(None, "collection_id"),
)

chunk_vectors = Table(
    "chunk_vectors",
    metadata,
    Column("embedding_model", String(200), primary_key=True),
    Column("text_sha256", String(64), primary_key=True),
    Column("vector", LargeBinary, nullable=False),  # float32, little-endian, of length one
)

question_sets = Table(
    "question_sets",
    metadata,
    _id(primary_key=True),
    _id("collection_id", nullable=False),
    Column("name", String(120), nullable=False),
    _id("created_by"),
    _moment("created_at"),
    Index(None, "collection_id"),
)

questions = Table(
    "questions",
    metadata,
    _id(primary_key=True),
    _id("set_id", nullable=False),
    Column("external_id", String(200), nullable=False, default=""),  # its name where it was imported from
    Column("text", Text, nullable=False),
    Column("source", String(10), nullable=False),  # typed, imported, proposed (by a model)
    Column("is_approved", Boolean, nullable=False),  # by a person; others do not count
    _id("created_by"),
    _moment("created_at"),
    Index(None, "set_id"),
)

judgements = Table(
    "judgements",
    metadata,
    _id("question_id", primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    _id("document_id", nullable=False),
    Column("grade", Integer, nullable=False),
    Column("start", Integer),  # of a passage in the document's text; NULL: the document as a whole
    Column("end", Integer),
    Column("quote", Text),  # the passage's words, to find it again in a later version
    Index(None, "document_id"),
)

evaluations = Table(
    "evaluations",
    metadata,
    _id(primary_key=True),
    _id("collection_id", nullable=False),
    _id("set_id", nullable=False),
    Column("settings", JSON, nullable=False),  # what was searched with, the chunking and the model of that moment
    Column("figures", JSON, nullable=False),  # by name: value, low, high, questions
    Column("passages", Integer, nullable=False),
    Column("took_ms", Integer, nullable=False),
    _id("created_by"),
    _moment("created_at"),
    Index(None, "collection_id", "created_at"),
)

evaluation_results = Table(
    "evaluation_results",
    metadata,
    _id("evaluation_id", primary_key=True),
    _id("question_id", primary_key=True),
    Column("figures", JSON, nullable=False),
    Column("found", JSON, nullable=False),  # the first things found: document, start, end, grade
)

studies = Table(
    "studies",
    metadata,
    _id(primary_key=True),
    _id("collection_id", nullable=False),
    _id("set_id", nullable=False),
    Column("metric", String(20), nullable=False),
    Column("state", String(10), nullable=False),  # waiting, running, stopped, done, failed
    Column("error", Text),
    _id("worker_id"),  # the process that works on it
    _moment("worker_until", nullable=True),
    _id("created_by"),
    _moment("created_at"),
    _moment("updated_at"),
    Index(None, "collection_id", "created_at"),
    Index(None, "state"),
)

trials = Table(
    "trials",
    metadata,
    _id("study_id", primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("chunking", JSON, nullable=False),
    Column("search", JSON, nullable=False),
    Column("is_current", Boolean, nullable=False),  # as the collection is now
    Column("result", JSON),  # NULL until it was tried
)
