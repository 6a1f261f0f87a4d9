"""Rows of what begins a workflow's runs, schedules and webhooks: made for who may change the workflow, and found again.

Such a row belongs to a person and a team; one of a workflow of all teams acts in its maker's.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, select

from lib.access.permissions import Actor, Permission
from lib.access.team_scope import require_team
from lib.clock import make_id, utc_now
from lib.errors import InvalidInput, NotFound
from lib.workflows.workflow import Workflow, load_workflow, require_may_change


def load_to_change(connection: Connection, actor: Actor, slug: str) -> Workflow:
    """Load a workflow that the actor may change, by its slug or id."""
    actor.require(Permission.MANAGE_WORKFLOWS)
    workflow = load_workflow(connection, slug)
    require_may_change(actor, workflow)
    return workflow


def make_row(
    connection: Connection, actor: Actor, table: Table, workflow: Workflow, name: str, most: int
) -> dict[str, Any]:
    """Make the columns that such rows have in common; InvalidInput where the workflow has as many as it may."""
    if len(read_rows(connection, table, workflow.id)) >= most:
        kind = table.name.removeprefix("workflow_")
        raise InvalidInput(f"The workflow has too many {kind}.", f"The limit is {most}.", "Delete one.")
    return {
        "id": make_id(),
        "workflow_id": workflow.id,
        "name": name.strip()[:100],
        "is_active": True,
        "user_id": actor.user_id,
        "team_id": workflow.team_id or require_team(actor),
        "created_at": utc_now(),
    }


def read_rows(connection: Connection, table: Table, workflow_id: str) -> Sequence[RowMapping]:
    """Read a workflow's rows in the order in which they were made."""
    query = select(table).where(table.c.workflow_id == workflow_id).order_by(table.c.created_at, table.c.id)
    return connection.execute(query).mappings().all()


def find_row(connection: Connection, actor: Actor, table: Table, row_id: str) -> tuple[RowMapping, Workflow]:
    """Find a row of a workflow that the actor may change, and that workflow; raises NotFound."""
    actor.require(Permission.MANAGE_WORKFLOWS)
    row = connection.execute(select(table).where(table.c.id == row_id)).mappings().first()
    if row is None:
        kind = table.name.removeprefix("workflow_").removesuffix("s")
        raise NotFound(f"There is no such {kind}.", "It was deleted, or never made.")
    return row, load_to_change(connection, actor, row["workflow_id"])
