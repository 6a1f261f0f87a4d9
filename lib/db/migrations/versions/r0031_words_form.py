"""Which version of the software counted the words of a document's passages."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    """Add a column with a constant default: no document is rewritten."""
    column: sa.Column[int] = sa.Column("words_form", sa.Integer(), nullable=False, server_default="1")
    op.add_column("documents", column)
