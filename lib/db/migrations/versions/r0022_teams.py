"""Teams: who is in them, what belongs to them; what is stopped; links that let somebody in."""

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.column_types import UtcMoment

revision = "0022"
down_revision = "0021"

_OWNED = (
    "api_keys",
    "audit_log",
    "budgets",
    "collections",
    "configurations",
    "conversations",
    "custom_metrics",
    "experiments",
    "open_calls",
    "overrides",
    "playground_runs",
    "prompt_templates",
    "saved_views",
    "usage_logs",
    "users",  # the team they chose last
)


def upgrade() -> None:
    """Add columns with constant defaults, so that no row is rewritten, and a first team with everybody in it."""
    for table in _OWNED:
        op.add_column(table, sa.Column("team_id", sa.Integer(), nullable=False, server_default="1"))
    op.create_table(
        "teams",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("slug", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("tokens_per_minute", sa.Integer(), nullable=True),
        sa.Column("created_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teams")),
        sa.UniqueConstraint("slug", name=op.f("uq_teams_slug")),
    )
    op.create_table(
        "team_members",
        sa.Column("team_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=True),
        sa.Column("created_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("team_id", "user_id", name=op.f("pk_team_members")),
    )
    op.create_index(op.f("ix_team_members_user_id"), "team_members", ["user_id"], unique=False)
    op.create_table(
        "stops",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=80), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("user_name", sa.String(length=80), nullable=False),
        sa.Column("at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", name=op.f("pk_stops")),
    )
    op.create_table(
        "access_links",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=True),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("team_id", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_by", sa.String(length=36), nullable=True),
        sa.Column("created_at", UtcMoment, nullable=False),
        sa.Column("expires_at", UtcMoment, nullable=False),
        sa.Column("used_at", UtcMoment, nullable=True),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_access_links")),
    )
    op.execute(
        "INSERT INTO teams (id, slug, name, created_at) "
        "VALUES (1, 'first-team', 'First team', '2026-01-01 00:00:00.000000')"
    )
    op.execute("INSERT INTO team_members (team_id, user_id, created_at) SELECT 1, id, created_at FROM users")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("SELECT setval(pg_get_serial_sequence('teams', 'id'), 1)")
