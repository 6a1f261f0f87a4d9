"""Which model an app uses, and the templates it is asked with."""

from sqlalchemy import JSON, Boolean, Column, Index, Integer, String, Table, Text

from lib.db.tables.columns import id_column, metadata, moment_column, team_column

configurations = Table(
    "configurations",
    metadata,
    id_column(primary_key=True),
    Column("slug", String(80), nullable=False, unique=True),
    Column("app", String(80), nullable=False),
    Column("description", Text, nullable=False, default=""),
    id_column("provider_id", nullable=True),
    Column("model", String(200), nullable=False),
    Column("system_prompt", Text, nullable=False, default=""),
    Column("parameters", JSON, nullable=False, default=dict),
    Column("capabilities", JSON, nullable=False, default=list),  # of vision, tools, streaming, json
    Column("routing", JSON, nullable=False, default=dict, server_default="{}"),  # deployments, fallbacks, deadlines
    Column("content_policy", String(12), nullable=False, default="full", server_default="full"),
    Column("unsupported_parameters", String(8), nullable=False, default="refuse", server_default="refuse"),
    Column("tools", JSON, nullable=False, default=dict, server_default="{}"),  # which, and who runs them when
    Column("is_active", Boolean, nullable=False, default=True),
    Column("is_default", Boolean, nullable=False, default=False),  # for its app
    Column("is_global_default", Boolean, nullable=False, default=False),
    Column("revision", Integer, nullable=False, default=1),  # an edit names the revision it saw
    team_column(),
    moment_column("created_at"),
    moment_column("updated_at"),
    Index(None, "app"),
    Index(None, "provider_id"),
)


prompt_templates = Table(
    "prompt_templates",
    metadata,
    id_column(primary_key=True),
    Column("slug", String(80), nullable=False, unique=True),
    Column("app", String(80)),  # NULL: for every app
    Column("category", String(80), nullable=False, default=""),
    Column("description", Text, nullable=False, default=""),
    Column("newest", Integer, nullable=False),  # version: a new one names the one it was made from
    team_column(),
    moment_column("created_at"),
    moment_column("updated_at"),
)


prompt_versions = Table(
    "prompt_versions",
    metadata,
    id_column("template_id", primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    Column("system_prompt", Text),  # NULL: the configuration's own
    Column("variables", JSON, nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    id_column("user_id"),
    Column("user_name", String(80), nullable=False),
    moment_column("created_at"),
)


prompt_labels = Table(
    "prompt_labels",
    metadata,
    id_column("template_id", primary_key=True),
    Column("label", String(80), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("user_name", String(80), nullable=False),  # who moved it last
    moment_column("moved_at"),
)


overrides = Table(
    "overrides",
    metadata,
    id_column(primary_key=True),
    Column("name", String(80), nullable=False),
    Column("app", String(80)),  # NULL: any
    Column("context", String(80)),
    id_column("configuration_id"),
    Column("strategy", String(12), nullable=False),  # replace, merge, deep_merge
    Column("priority", Integer, nullable=False, default=0),
    Column("parameters", JSON, nullable=False, default=dict),
    Column("is_active", Boolean, nullable=False, default=True),
    team_column(),
    moment_column("created_at"),
    moment_column("updated_at"),
)
