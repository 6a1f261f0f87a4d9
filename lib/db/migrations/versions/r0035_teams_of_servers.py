"""Servers of tools are their team's: what every team used until now belongs to all, where there are several teams."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
_TOOLS = sa.table("tools", sa.column("name"), sa.column("source"), sa.column("team_id"))
_SERVERS = sa.table("mcp_servers", sa.column("name"), sa.column("team_id"))


def upgrade() -> None:
    """Give servers to all teams; with one team alone, give it what is set on their tools instead."""
    connection = op.get_bind()
    if (connection.scalar(sa.select(sa.func.count()).select_from(sa.table("teams"))) or 0) > 1:
        connection.execute(sa.update(_SERVERS).values(team_id=0))
        return
    prefix = _SERVERS.c.name.concat("__")
    is_its = sa.func.substr(_TOOLS.c.name, 1, sa.func.length(prefix)) == prefix
    of_server = sa.exists().where(is_its).correlate(_TOOLS)
    connection.execute(sa.update(_TOOLS).where(_TOOLS.c.source == "mcp", of_server).values(team_id=1))
