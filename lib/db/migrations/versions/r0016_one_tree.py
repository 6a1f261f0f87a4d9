"""On SQLite the two tables that every call writes before it is sent are their own index: half the pages a commit."""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Make both anew, with what is in them."""
    if op.get_bind().dialect.name != "sqlite":
        return
    for table in ("open_calls", "budget_holds"):
        with op.batch_alter_table(table, recreate="always", table_kwargs={"sqlite_with_rowid": False}):
            pass
