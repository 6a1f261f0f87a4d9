"""Remembered answers: rules by configuration, what is kept, what was served, counts, would-be hits, blocked pairs."""

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.column_types import UtcMoment

revision = "0030"
down_revision = "0029"


def _id(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=36), nullable=nullable)


def _key(name: str, *, nullable: bool) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=64), nullable=nullable)


def _team() -> sa.Column[int]:
    return sa.Column("team_id", sa.Integer(), nullable=False, server_default="1")


def upgrade() -> None:
    """Add six tables."""
    op.create_table(
        "cache_policies",
        _id("configuration_id"),
        _team(),
        sa.Column("exact", sa.Boolean(), nullable=False),
        sa.Column("loose", sa.Boolean(), nullable=False),
        sa.Column("semantic", sa.String(length=8), nullable=False),
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("ttl_s", sa.Integer(), nullable=False),
        sa.Column("most_bytes", sa.BigInteger(), nullable=False),
        sa.Column("bound_per_mille", sa.Integer(), nullable=False),
        _id("judge_configuration_id", nullable=True),
        sa.Column("keeps_pace", sa.Boolean(), nullable=False),
        sa.Column("updated_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("configuration_id", name=op.f("pk_cache_policies")),
    )
    op.create_table(
        "cache_entries",
        _id("id"),
        _key("exact_key", nullable=False),
        _key("loose_key", nullable=True),
        _key("namespace", nullable=True),
        _key("pool", nullable=True),
        _id("configuration_id"),
        _id("user_id", nullable=True),
        _team(),
        sa.Column("app", sa.String(length=80), nullable=False),
        sa.Column("created_at", UtcMoment, nullable=False),
        sa.Column("used_at", UtcMoment, nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("question", sa.Text(), nullable=True),
        sa.Column("vector", sa.LargeBinary(), nullable=True),
        _id("call_id"),
        sa.Column("cost_nano_usd", sa.BigInteger(), nullable=True),
        sa.Column("execution_time_ms", sa.Integer(), nullable=True),
        sa.Column("is_banned", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cache_entries")),
        sa.UniqueConstraint("exact_key", name=op.f("uq_cache_entries_exact_key")),
    )
    op.create_table(
        "cache_hits",
        _id("call_id"),
        _id("entry_id"),
        _id("original_call_id"),
        _id("configuration_id"),
        _id("user_id", nullable=True),
        _team(),
        sa.Column("tier", sa.String(length=8), nullable=False),
        sa.Column("saved_nano_usd", sa.BigInteger(), nullable=True),
        sa.Column("saved_ms", sa.Integer(), nullable=True),
        sa.Column("created_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_cache_hits")),
    )
    op.create_table(
        "cache_counts",
        sa.Column("day", sa.Date(), nullable=False),
        _id("configuration_id"),
        sa.Column("outcome", sa.String(length=24), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "configuration_id", "outcome", name=op.f("pk_cache_counts")),
    )
    op.create_table(
        "cache_decisions",
        _id("id"),
        sa.Column("created_at", UtcMoment, nullable=False),
        _id("configuration_id"),
        _key("pool", nullable=False),
        _id("entry_id"),
        _id("call_id"),
        _id("user_id", nullable=True),
        _team(),
        sa.Column("similarity", sa.Float(), nullable=False),
        sa.Column("guard", sa.String(length=24), nullable=True),
        sa.Column("verdict", sa.String(length=10), nullable=True),
        sa.Column("label", sa.String(length=10), nullable=True),
        sa.Column("labelled_by", sa.String(length=10), nullable=True),
        sa.Column("was_served", sa.Boolean(), nullable=False),
        sa.Column("saved_nano_usd", sa.BigInteger(), nullable=True),
        sa.Column("question", sa.Text(), nullable=True),
        sa.Column("candidate", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cache_decisions")),
    )
    op.create_table(
        "cache_blocked_pairs",
        _key("pool", nullable=False),
        _key("pair", nullable=False),
        sa.Column("created_at", UtcMoment, nullable=False),
        _id("user_id", nullable=True),
        sa.PrimaryKeyConstraint("pool", "pair", name=op.f("pk_cache_blocked_pairs")),
    )
    for table, columns in (
        ("cache_entries", ["loose_key"]),
        ("cache_entries", ["namespace"]),
        ("cache_entries", ["configuration_id", "created_at"]),
        ("cache_entries", ["user_id"]),
        ("cache_hits", ["configuration_id", "created_at"]),
        ("cache_decisions", ["pool", "created_at"]),
        ("cache_decisions", ["configuration_id", "created_at"]),
        ("cache_decisions", ["user_id"]),
    ):
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)
