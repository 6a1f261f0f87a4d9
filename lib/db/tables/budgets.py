"""Limits in money: budgets, their windows and holds, what was told, and messages on their way."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, String, Table, Text, UniqueConstraint

from lib.db.tables.columns import UtcDateTime, id_column, metadata, moment_column, team_column

budgets = Table(
    "budgets",
    metadata,
    id_column(primary_key=True),
    Column("scope", String(16), nullable=False),  # global, provider, configuration, app, user, key, team
    Column("subject", String(80), nullable=False),  # as the ledger's rows name it; empty for global
    Column("period", String(8), nullable=False),  # day, week, month
    Column("limit_nano_usd", BigInteger, nullable=False),
    Column("is_hard", Boolean, nullable=False),
    Column("thresholds", JSON, nullable=False),  # percent of the limit
    Column("block_unpriced", Boolean, nullable=False),
    team_column(),
    moment_column("window_starts_at"),  # the newest window: a clock that steps back does not reopen an older one
    moment_column("created_at"),
    moment_column("updated_at"),
    UniqueConstraint("scope", "subject", "period"),
)


budget_windows = Table(
    "budget_windows",
    metadata,
    id_column("budget_id", primary_key=True),
    Column("starts_at", UtcDateTime, primary_key=True),
    moment_column("ends_at"),
    Column("limit_nano_usd", BigInteger, nullable=False),  # the budget's while the window lasts; then as it was
    Column("spent_nano_usd", BigInteger, nullable=False),
    Column("held_nano_usd", BigInteger, nullable=False),
    Column("unpriced_calls", Integer, nullable=False),  # attempts of unknown cost, not in what was spent
)


budget_holds = Table(
    "budget_holds",
    metadata,
    id_column("log_id", primary_key=True),  # = open_calls.id = usage_logs.id; of a lease: = processes.id
    id_column("budget_id", primary_key=True),
    moment_column("starts_at"),  # the window that took it
    Column("amount_nano_usd", BigInteger, nullable=False),  # 0 where the price is unknown
    moment_column("expires_at"),  # then the sweep asks the ledger what became of the call
    sqlite_with_rowid=False,
)


budget_notices = Table(
    "budget_notices",
    metadata,
    id_column("budget_id", primary_key=True),
    Column("starts_at", UtcDateTime, primary_key=True),
    Column("threshold", Integer, primary_key=True),  # percent; 0: a call was refused
    moment_column("at"),
    Column("spent_nano_usd", BigInteger, nullable=False),
    Column("limit_nano_usd", BigInteger, nullable=False),
    Column("unpriced_calls", Integer, nullable=False, server_default="0"),  # not, or not wholly, in what was spent
    Index(None, "at"),
)


webhook_outbox = Table(
    "webhook_outbox",
    metadata,
    id_column(primary_key=True),
    Column("event", String(40), nullable=False),  # budget.threshold…
    Column("body", JSON, nullable=False),
    moment_column("created_at"),
    Column("attempts", Integer, nullable=False),
    moment_column("due_at", nullable=True),  # NULL: delivered, or given up
    moment_column("delivered_at", nullable=True),
    Column("error", Text),  # of the newest try
    Index(None, "due_at"),
)
