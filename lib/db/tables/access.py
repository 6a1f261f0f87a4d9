"""People, their sessions and keys, and what was done: users, API keys, counters of limits, the audit log."""

from sqlalchemy import JSON, Boolean, Column, Index, Integer, String, Table, Text

from lib.db.tables.columns import id_column, metadata, moment_column, team_column
from lib.db.team_ids import FIRST_TEAM

users = Table(
    "users",
    metadata,
    id_column(primary_key=True),
    Column("name", String(80), nullable=False),
    Column("name_key", String(80), nullable=False, unique=True),  # casefolded, so that Amira and amira are one
    Column("password_hash", Text, nullable=False),
    Column("role", String(32), nullable=False),
    Column("is_active", Boolean, nullable=False, default=True),
    moment_column("created_at"),
    moment_column("last_login_at", nullable=True),
    Column("team_id", Integer, nullable=False, default=FIRST_TEAM, server_default="1"),  # the team they chose last
)


teams = Table(
    "teams",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("slug", String(80), nullable=False, unique=True),
    Column("name", String(80), nullable=False),
    Column("requests_per_minute", Integer),
    Column("tokens_per_minute", Integer),
    moment_column("created_at"),
)


team_members = Table(
    "team_members",
    metadata,
    Column("team_id", Integer, primary_key=True, autoincrement=False),
    id_column("user_id", primary_key=True),
    Column("role", String(32)),  # in this team; NULL: that of the account
    moment_column("created_at"),
    Index(None, "user_id"),
)


stops = Table(
    "stops",
    metadata,
    Column("kind", String(16), primary_key=True),  # everything, team, key
    Column("subject", String(80), primary_key=True),  # its id; empty: everything
    Column("reason", String(200), nullable=False, default=""),
    Column("user_name", String(80), nullable=False),  # who stopped it
    moment_column("at"),
)


access_links = Table(
    "access_links",
    metadata,
    Column("token_hash", String(64), primary_key=True),  # SHA-256 of what stands in the link
    Column("kind", String(12), nullable=False),  # invitation, password
    id_column("user_id"),  # whose password is set anew; NULL: an invitation
    Column("role", String(32), nullable=False, default=""),  # of an invited person's account
    Column("team_id", Integer, nullable=False, default=FIRST_TEAM, server_default="1"),  # that they are invited into
    id_column("created_by"),
    moment_column("created_at"),
    moment_column("expires_at"),
    moment_column("used_at", nullable=True),
)


sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),  # SHA-256 of the cookie's token
    id_column("user_id", nullable=False),
    moment_column("created_at"),
    moment_column("last_seen_at"),
    moment_column("expires_at"),
    Column("user_agent", String(200), nullable=False, default=""),
    Index(None, "user_id"),
)


login_failures = Table(
    "login_failures",
    metadata,
    Column("subject", String(64), primary_key=True),  # SHA-256 of the user name or of the network address
    Column("failures", Integer, nullable=False),
    moment_column("last_failed_at"),
)


user_preferences = Table(
    "user_preferences",
    metadata,
    id_column("user_id", primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("value", JSON, nullable=False),
    moment_column("updated_at"),
)


saved_views = Table(
    "saved_views",
    metadata,
    id_column(primary_key=True),
    id_column("user_id"),
    Column("name", String(80), nullable=False),
    Column("query", JSON, nullable=False),  # an address's: names and lists of values
    Column("is_shared", Boolean, nullable=False, default=False),
    Column("is_pinned", Boolean, nullable=False, default=False),
    team_column(),
    moment_column("created_at"),
    Index(None, "user_id"),
)


audit_log = Table(
    "audit_log",
    metadata,
    id_column(primary_key=True),
    moment_column("at"),
    id_column("user_id"),
    Column("user_name", String(80), nullable=False),
    Column("came_from", String(80)),  # page 192.0.2.7, gateway 192.0.2.7, command line ben@host, job
    Column("action", String(40), nullable=False),  # prices.import, key.rotate…
    Column("subject", String(200), nullable=False),
    Column("detail", JSON, nullable=False, default=dict),
    team_column(),  # in which it was done
    Index(None, "at"),
)


api_keys = Table(
    "api_keys",
    metadata,
    id_column(primary_key=True),
    Column("name", String(80), nullable=False),
    Column("prefix", String(12), nullable=False),  # the key's first characters, to recognise it
    Column("hash", String(64), nullable=False, unique=True),  # SHA-256 of the key
    Column("app", String(80), nullable=False),
    id_column("user_id"),  # its owner; NULL: a program's own key
    team_column(),
    Column("scopes", JSON, nullable=False),  # {"models": [patterns], "endpoints": [names]}
    Column("requests_per_minute", Integer),
    Column("tokens_per_minute", Integer),
    Column("concurrency", Integer),
    moment_column("expires_at", nullable=True),
    moment_column("revoked_at", nullable=True),
    moment_column("last_used_at", nullable=True),
    moment_column("created_at"),
    id_column("created_by"),
    Index(None, "user_id"),
)


rate_counters = Table(
    "rate_counters",
    metadata,
    Column("subject", String(120), primary_key=True),  # key:ID or app:NAME
    Column("seconds", JSON, nullable=False),  # of the last minute: [[Unix seconds], [requests], [tokens]]
)
