"""A database from before teams comes forward as one team with everybody in it, and nothing of it is written anew."""

import uuid
from pathlib import Path

import pytest
from sqlalchemy import select, text

from lib.clock import new_id, utc_now
from lib.db import schema
from lib.db.engine import Store
from lib.db.tables import UtcDateTime, api_keys, ledger_clock, team_members, teams, usage_logs
from lib.statistics.copy import copy_file
from lib.statistics.copy.mirror import TABLES
from tests.conftest import new_database

pytestmark = pytest.mark.feature("ACC-5")
_OLD_CALL = """INSERT INTO usage_logs (id, call_id, attempt, started_at, app, origin, provider, model, streamed,
parameters,
tags, is_final, finished_at, status, usage_source, cost_status, cache, change_seq) VALUES (:id, :id, 1, :at, 'bot',
'gateway', 'openai', 'm', true, '{}', '{}', true, :at, 'ok', 'none', 'free', 'none', 7)"""
_OLD_PERSON = """INSERT INTO users (id, name, name_key, password_hash, role, is_active, created_at)
VALUES (:id, 'amira', 'amira', '', 'developer', true, :at)"""


def test_everything_older_belongs_to_the_first_team(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    if database_kind == "postgresql":
        url = new_database(request.getfixturevalue("postgres_server"), f"t{uuid.uuid4().hex}")
    store = Store(url)
    schema.upgrade(store, "0021")
    person = new_id()
    with store.write() as connection:
        at = UtcDateTime().process_bind_param(utc_now(), connection.dialect)
        connection.execute(text(_OLD_CALL), {"id": new_id(), "at": at})
        connection.execute(text(_OLD_PERSON), {"id": person, "at": at})
        connection.execute(text("UPDATE ledger_clock SET change_seq = 7"))
        before = connection.execute(text("SELECT * FROM usage_logs")).one()
    schema.upgrade(store)
    with store.read() as connection:
        assert connection.execute(select(teams.c.id, teams.c.slug)).all() == [(1, "first-team")]
        assert connection.execute(select(team_members.c.team_id, team_members.c.user_id)).all() == [(1, person)]
        assert connection.execute(select(usage_logs.c.team_id, usage_logs.c.change_seq)).all() == [(1, 7)]
        after = connection.execute(text("SELECT * FROM usage_logs")).one()
        assert {name: after._mapping[name] for name in before._fields} == dict(before._mapping)
        assert connection.scalar(select(ledger_clock.c.change_seq)) == 7
        assert "team_id" in api_keys.c
    store.dispose()


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
