"""An old database comes forward with all that is in it: no row is lost or written anew, and no money changes."""

import datetime
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Column, Connection, column, insert, inspect, select, table

from lib.clock import utc_now
from lib.db import schema
from lib.db.engine import Store
from lib.db.tables import UtcDateTime, ledger_clock, metadata, team_members, teams, usage_logs
from lib.statistics.copy import copy_file
from lib.statistics.copy.mirror import TABLES
from tests.conftest import new_database

pytestmark = [pytest.mark.feature("SET-4"), pytest.mark.feature("CALL-9")]
_OLDEST = "0021"
_ROWS = 2
_NOW = utc_now()


def make_value(column: Column[Any], number: int) -> Any:
    """A value that a column takes, another one in each row."""
    if isinstance(column.type, JSON):
        return {"row": number}
    if isinstance(column.type, UtcDateTime):
        return _NOW - datetime.timedelta(hours=number)
    kind = column.type.python_type
    if kind is datetime.date:
        return _NOW.date() - datetime.timedelta(days=number)
    return f"x{number}" if kind is str else f"x{number}".encode() if kind is bytes else kind(number)


def read_columns(connection: Connection, known: Collection[str]) -> dict[str, list[Column[Any]]]:
    """The columns of each table that is new, by name, with the types that the code gives them."""
    there = inspect(connection)
    return {
        name: [metadata.tables[name].c[found["name"]] for found in there.get_columns(name)]
        for name in there.get_table_names()
        if name in metadata.tables and name not in known
    }


def read_rows(connection: Connection, name: str, columns: list[Column[Any]]) -> list[Any]:
    """All rows of a table in these columns, in the order of their keys."""
    bare = table(name, *(column(one.name, one.type) for one in columns))
    rows = connection.execute(select(bare)).all()
    return sorted(map(tuple, rows), key=str)


@pytest.mark.feature("ACC-5")
def test_every_row_comes_forward_through_every_schema(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    if database_kind == "postgresql":
        url = new_database(request.getfixturevalue("postgres_server"), f"t{uuid.uuid4().hex}")
    store = Store(url)
    revisions = schema.list_revisions()
    kept: dict[str, tuple[list[Column[Any]], list[Any]]] = {}
    for revision in revisions[revisions.index(_OLDEST) :]:
        schema.upgrade(store, revision)
        with store.write() as connection:
            for name, (columns, rows) in kept.items():
                assert read_rows(connection, name, columns) == rows, f"{name} at {revision}"
            for name, columns in read_columns(connection, kept).items():
                if name not in ("ledger_clock", "teams", "team_members"):
                    bare = table(name, *(column(one.name, one.type) for one in columns))
                    rows = [{one.name: make_value(one, n) for one in columns} for n in range(_ROWS)]
                    connection.execute(insert(bare), rows)
                kept[name] = (columns, read_rows(connection, name, columns))
    assert schema.is_current(store)
    assert kept["usage_logs"][1] != []
    with store.read() as connection:
        assert connection.execute(select(teams.c.id, teams.c.slug)).all() == [(1, "first-team")]
        members = connection.execute(select(team_members.c.team_id, team_members.c.user_id)).all()
        assert sorted(map(tuple, members)) == [(1, "x0"), (1, "x1")], "everybody who was there"
        spent = connection.scalars(select(usage_logs.c.cost_nano_usd).order_by(usage_logs.c.id)).all()
        assert (list(spent), connection.scalars(select(usage_logs.c.team_id)).all()) == ([0, 1], [1, 1])
        assert connection.scalar(select(ledger_clock.c.change_seq)) == 0, "no copy has to follow"
    store.dispose()


@pytest.mark.feature("ACC-5")
def test_a_copy_of_the_ledger_gets_the_column_and_stays(tmp_path: Path) -> None:
    def without_team(columns: str) -> str:
        return ", ".join(column for column in columns.split(", ") if not column.startswith("team_id"))

    older = copy_file.claim(tmp_path, {name: without_team(columns) for name, columns in TABLES.items()})
    assert older is not None
    older.connection.execute("INSERT INTO calls (id, app) VALUES (uuid(), 'bot')")
    older.connection.execute("INSERT INTO seen VALUES (0, 7)")
    older.release()
    newer = copy_file.claim(tmp_path, TABLES)
    assert newer is not None
    assert newer.connection.execute("SELECT app, team_id FROM calls").fetchall() == [("bot", "1")]
    assert newer.connection.execute("SELECT change_seq FROM seen").fetchall() == [(7,)]
    newer.connection.execute("INSERT INTO calls (id, app, team_id) VALUES (uuid(), 'bot', '2')")
    newer.release()
    again = copy_file.claim(tmp_path, TABLES)
    assert again is not None
    assert sorted(again.connection.execute("SELECT team_id FROM calls").fetchall()) == [("1",), ("2",)]
    again.release()


@pytest.mark.feature("ACC-5")
@pytest.mark.parametrize(("teams_there", "of_server", "of_tool"), [(1, 1, 1), (2, 0, 0)])
def test_servers_that_every_team_used_stay_every_teams(
    tmp_path: Path, teams_there: int, of_server: int, of_tool: int
) -> None:
    store = Store(f"sqlite:///{tmp_path / 'old.db'}")
    schema.upgrade(store, "0034")
    fixed: dict[str, Any] = {"created_at": _NOW, "updated_at": _NOW, "revision": 1}
    server = {"id": "s", "name": "farm", "transport": "http", "command": [], "secret_names": [], "limits": {}}
    tool = {"source": "mcp", "definition": {}, "role_approval": {}, "roles": [], "apps": [], "team_id": 0}
    with store.write() as connection:
        for number in range(1, teams_there):
            connection.execute(insert(teams).values(slug=f"t{number}", name="", created_at=_NOW))
        connection.execute(insert(metadata.tables["mcp_servers"]).values(wanted="off", **server, **fixed))
        for name in ("farm__feed", "database__query"):
            connection.execute(insert(metadata.tables["tools"]).values(name=name, **tool, **fixed))
    schema.upgrade(store)
    with store.read() as connection:
        assert connection.scalars(select(metadata.tables["mcp_servers"].c.team_id)).all() == [of_server]
        tools = metadata.tables["tools"].c
        team_of = {name: team_id for name, team_id in connection.execute(select(tools.name, tools.team_id))}
    assert team_of == {"farm__feed": of_tool, "database__query": 0}
    store.dispose()
