"""Who runs models: registered providers, what they offer, what it costs, and which are left alone for now."""

from sqlalchemy import JSON, Boolean, Column, Date, Integer, String, Table, Text, UniqueConstraint

from lib.db.tables.columns import id_column, metadata, moment_column

providers = Table(
    "providers",
    metadata,
    id_column(primary_key=True),
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
    moment_column("created_at"),
    moment_column("updated_at"),
)


prices = Table(
    "prices",
    metadata,
    id_column(primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("model", String(200), nullable=False),
    moment_column("valid_from"),
    Column("rates", JSON, nullable=False),  # nano-dollars per million tokens, per image, per request; tiers
    Column("source", String(200), nullable=False),
    id_column("created_by"),
    moment_column("created_at"),
    UniqueConstraint("kind", "model", "valid_from"),
)


model_lists = Table(
    "model_lists",
    metadata,
    id_column("provider_id", primary_key=True),
    Column("models", JSON, nullable=False),  # the last good list
    moment_column("fetched_at", nullable=True),
    moment_column("tried_at"),
    Column("error", Text),  # of the newest try
)


circuits = Table(
    "circuits",
    metadata,
    id_column("provider_id", primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("failures", Integer, nullable=False),
    moment_column("opened_at", nullable=True),
    moment_column("open_until", nullable=True),
    Column("reason", Text, nullable=False, default=""),
    moment_column("updated_at"),
)


exchange_rates = Table(
    "exchange_rates",
    metadata,
    Column("currency", String(3), primary_key=True),  # ISO 4217
    Column("day", Date, primary_key=True),
    Column("per_usd", String(40), nullable=False),  # a decimal: units of it for one dollar
)
