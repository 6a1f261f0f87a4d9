"""What the caches' rules left out, and what was not found, by team."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    """Make the table anew with the team in its key; what was counted before is its configuration's team's."""
    connection = op.get_bind()
    counted = connection.execute(
        sa.text(
            "SELECT c.day, c.configuration_id, c.outcome, c.count, COALESCE(f.team_id, 1) AS team_id"
            " FROM cache_counts c LEFT JOIN configurations f ON f.id = c.configuration_id"
        ).columns(day=sa.Date())
    ).all()
    op.drop_table("cache_counts")
    table = op.create_table(
        "cache_counts",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("team_id", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("configuration_id", sa.String(length=36), nullable=False),
        sa.Column("outcome", sa.String(length=24), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "team_id", "configuration_id", "outcome", name=op.f("pk_cache_counts")),
    )
    if counted:
        op.bulk_insert(table, [dict(row._mapping) for row in counted])
