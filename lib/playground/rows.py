"""Rows of runs: whose they are stands in every statement."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, or_, select

from lib.access.permissions import Actor, Permission
from lib.access.team_scope import filter_owned, filter_usable
from lib.db.tables import playground_runs, users
from lib.errors import NotFound
from lib.playground.run import RunLine

_R = playground_runs.c


def find_readable(connection: Connection, actor: Actor, run_id: str) -> RowMapping:
    """Find the actor's own run, or a shared one; raises NotFound."""
    return _get_run(connection, _R.id == run_id, is_readable(actor))


def find_owned(connection: Connection, actor: Actor, run_id: str) -> RowMapping:
    """Find the actor's own run; raises NotFound."""
    actor.require(Permission.TEST_CONFIGS)
    return _get_run(connection, _R.id == run_id, is_own(actor))


def is_own(actor: Actor) -> ColumnElement[bool]:
    """Build the condition for the runs that the actor owns."""
    return filter_owned(actor, _R.user_id, _R.team_id)


def is_readable(actor: Actor) -> ColumnElement[bool]:
    """Build the condition for the actor's own runs and those that are shared in the team."""
    return or_(is_own(actor), and_(_R.is_shared, filter_usable(actor, _R.team_id)))


def _get_run(connection: Connection, *conditions: Any) -> RowMapping:
    if (run := find_run(connection, *conditions)) is None:
        raise make_not_found()
    return run


def find_run(connection: Connection, *conditions: Any) -> RowMapping | None:
    """Find a run with its owner's name; None where no row meets the conditions."""
    joined = playground_runs.outerjoin(users, users.c.id == _R.user_id)
    query = select(playground_runs, users.c.name.label("owner")).select_from(joined).where(*conditions)
    return connection.execute(query).mappings().first()


def make_not_found() -> NotFound:
    """Make the error for a run that does not exist; another person's run gets the same one."""
    return NotFound("There is no such run.", "It does not exist, or it is somebody else's and not shared.")


def build_line(rows: list[RowMapping]) -> RunLine:
    """Build a line of the list from the rows of one run's panes."""
    costs = [row["cost_nano_usd"] for row in rows if row["log"] is not None]
    prompt = next((row["prompt_text"] for row in rows if row["prompt_text"]), "")
    total = None if not costs or None in costs else sum(costs)
    partly = sum(row["cost_status"] == "partial" for row in rows)
    return RunLine(rows[0]["id"], rows[0]["created_at"], prompt, len(rows), total, partly)
