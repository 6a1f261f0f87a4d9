"""Work that outlives its process: living processes, waits, signals, results of steps."""

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.column_types import UtcMoment

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Add four tables."""
    op.create_table(
        "work_processes",
        sa.Column("executor_id", sa.String(length=120), nullable=False),
        sa.Column("host_key", sa.String(length=64), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("pid_started", sa.BigInteger(), nullable=False),
        sa.Column("beats", sa.BigInteger(), nullable=False),
        sa.Column("started_at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("executor_id", name=op.f("pk_work_processes")),
    )
    op.create_table(
        "work_waits",
        sa.Column("run_id", sa.String(length=120), nullable=False),
        sa.Column("topic", sa.String(length=160), nullable=False),
        sa.Column("deadline", UtcMoment, nullable=True),
        sa.Column("is_parked", sa.Boolean(), nullable=False),
        sa.Column("since", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "topic", name=op.f("pk_work_waits")),
    )
    op.create_table(
        "work_signals",
        sa.Column("run_id", sa.String(length=120), nullable=False),
        sa.Column("topic", sa.String(length=160), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("at", UtcMoment, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "topic", name=op.f("pk_work_signals")),
    )
    op.create_table(
        "step_results",
        sa.Column("run_id", sa.String(length=120), nullable=False),
        sa.Column("step", sa.String(length=160), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("call_id", sa.String(length=36), nullable=True),
        sa.Column("sealed", sa.Text(), nullable=True),
        sa.Column("output_hash", sa.String(length=64), nullable=False),
        sa.Column("output_size", sa.BigInteger(), nullable=False),
        sa.Column("started_at", UtcMoment, nullable=False),
        sa.Column("finished_at", UtcMoment, nullable=True),
        sa.PrimaryKeyConstraint("run_id", "step", name=op.f("pk_step_results")),
    )
    op.create_index(op.f("ix_step_results_finished_at"), "step_results", ["finished_at"], unique=False)
