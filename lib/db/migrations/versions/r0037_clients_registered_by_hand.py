"""Servers of tools name their authorization server, and the client that it was told of by hand."""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"


def upgrade() -> None:
    """Add both columns; empty is what every server has had."""
    op.add_column("mcp_servers", sa.Column("issuer", sa.Text(), nullable=False, server_default=""))
    op.add_column("mcp_servers", sa.Column("client_id", sa.Text(), nullable=False, server_default=""))
