"""Rows of runs: whose they are stands in every statement."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, or_, select

from lib.access.permissions import Actor, Permission
from lib.db.tables import playground_runs, users
from lib.errors import NotFound
from lib.playground.run import RunLine

_R = playground_runs.c


def readable(connection: Connection, actor: Actor, run_id: str) -> RowMapping:
    """The actor's own run, or a shared one; NotFound otherwise."""
    return _one(connection, _R.id == run_id, or_(mine(actor), _R.is_shared))


def owned(connection: Connection, actor: Actor, run_id: str) -> RowMapping:
    """The actor's own run; NotFound otherwise."""
    actor.require(Permission.TEST_CONFIGS)
    return _one(connection, _R.id == run_id, mine(actor))


def mine(actor: Actor) -> ColumnElement[bool]:
    """Whose runs the actor owns."""
    return _R.user_id == actor.user_id if actor.user_id is not None else _R.user_id.is_(None)


def _one(connection: Connection, *where: Any) -> RowMapping:
    if (found := find(connection, *where)) is None:
        raise no_run()
    return found


def find(connection: Connection, *where: Any) -> RowMapping | None:
    """A run with its owner's name."""
    joined = playground_runs.outerjoin(users, users.c.id == _R.user_id)
    query = select(playground_runs, users.c.name.label("owner")).select_from(joined).where(*where)
    return connection.execute(query).mappings().first()


def no_run() -> NotFound:
    """What is said of another's run, too."""
    return NotFound("There is no such run.", "It does not exist, or it is somebody else's and not shared.")


def line(rows: list[RowMapping]) -> RunLine:
    """A line of the list, from its panes' rows."""
    costs = [row["cost_nano_usd"] for row in rows if row["log"] is not None]
    prompt = next((row["prompt_text"] for row in rows if row["prompt_text"]), "")
    total = None if not costs or None in costs else sum(costs)
    partly = sum(row["cost_status"] == "partial" for row in rows)
    return RunLine(rows[0]["id"], rows[0]["created_at"], prompt, len(rows), total, partly)
