"""What an installation is: sealed keys, settings, the processes that serve it."""

from sqlalchemy import JSON, Column, Integer, String, Table, Text

from lib.db.tables.columns import id_column, metadata, moment_column

vault_keys = Table(
    "vault_keys",
    metadata,
    Column("key_id", String(16), primary_key=True),
    Column("canary", Text, nullable=False),  # a known text under this key: tells a wrong key before it does harm
    moment_column("created_at"),
)


installation_settings = Table(
    "installation_settings",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", JSON, nullable=False),
    moment_column("updated_at"),
)


processes = Table(
    "processes",
    metadata,
    id_column(primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    moment_column("started_at"),
    moment_column("seen_at"),
)
