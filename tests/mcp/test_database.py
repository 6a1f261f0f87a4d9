"""The server of databases reads: the engine refuses everything else, however a statement is written."""

import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lib.access.permissions import OPERATOR
from lib.db.engine import Store
from lib.errors import InvalidInput, NotFound, PermissionDenied
from lib.limited.child import ProcessLimits
from lib.mcp.bundled import sqlite_reader, statements
from lib.mcp.bundled.database import DatabaseSettings, build_server, check_address, hide_password
from lib.mcp.bundled.postgres_reader import PostgresReader
from lib.mcp.bundled.sqlite_reader import SqliteReader
from tests.conftest import new_database

pytestmark = pytest.mark.feature("TOOL-3")


@pytest.fixture
def shop(tmp_path: Path) -> str:
    """The address of a SQLite file in WAL mode that somebody holds open."""
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE orders (id INTEGER, name TEXT)")
        connection.executemany("INSERT INTO orders VALUES (?, ?)", [(number, f"n{number}") for number in range(250)])
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def postgres_shop(postgres_server: str) -> str:
    """The address of a PostgreSQL database for a role that only reads; a superuser's with `superuser_of`."""
    address = new_database(postgres_server, "toolshop")
    with psycopg.connect(superuser_of(address), autocommit=True) as connection:
        connection.execute("CREATE TABLE orders AS SELECT n AS id, 'n' || n AS name FROM generate_series(0, 249) AS n")
        connection.execute("CREATE ROLE shop_reader LOGIN PASSWORD 'secret'")
        connection.execute("GRANT pg_read_all_data TO shop_reader")
    return superuser_of(address).replace("postgres:@", "shop_reader:secret@")


def superuser_of(address: str) -> str:
    return address.replace("postgresql+psycopg", "postgresql")


def query(address: str, sql: str) -> Any:
    tool = build_server(DatabaseSettings({"shop": address})).find("query_database")
    assert tool is not None
    return tool.call(OPERATOR, {"database": "shop", "sql": sql})


def test_a_select_answers_a_hundred_rows_of_a_live_file(shop: str) -> None:
    answer = query(shop, "SELECT id, name, x'00ff' AS data FROM orders ORDER BY id")
    assert answer["columns"] == ["id", "name", "data"]
    assert answer["rows"][:2] == [[0, "n0", "<2 bytes>"], [1, "n1", "<2 bytes>"]]
    assert (len(answer["rows"]), answer["is_complete"]) == (100, False)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM orders",
        "WITH gone AS (SELECT 1) DELETE FROM orders",
        "INSERT INTO orders VALUES (1, 'x') RETURNING id",
        "PRAGMA query_only=OFF",
        "SELECT * FROM pragma_query_only",
        "ATTACH DATABASE ':memory:' AS other",
        "VACUUM INTO '/tmp/copy.db'",
        "BEGIN IMMEDIATE",
        "CREATE TEMP TABLE x (a)",
        "SELECT load_extension('x')",
        "SELECT writefile('x', 'y')",
        "SELECT randomblob(1000000000)",
        "SELECT 1; DELETE FROM orders",
        "nonsense",
    ],
)
def test_sqlite_refuses_whatever_is_not_reading(shop: str, sql: str) -> None:
    reader = SqliteReader(shop.removeprefix("sqlite:///"))
    with pytest.raises(InvalidInput):
        reader.query(sql)
    assert reader.query("SELECT count(*) FROM orders").rows == [[250]]


def test_a_statement_without_an_end_is_stopped(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_reader, "STATEMENT_S", 0)
    with pytest.raises(InvalidInput, match="stopped"):
        SqliteReader(shop.removeprefix("sqlite:///")).query(
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
        )


@pytest.mark.parametrize(
    "sql",
    [
        "WITH t AS (SELECT printf('%.*c', 900000, 'x') AS a) SELECT " + ", ".join(["a || 'y'"] * 450) + " FROM t",
        "WITH RECURSIVE t(n, x) AS (SELECT 1, printf('%.*c', 900000, 'x') UNION ALL SELECT n + 1, x || n FROM t"
        " WHERE n < 600) SELECT n FROM t ORDER BY x",
        "SELECT " + ", ".join(["1"] * 501),
        "",
    ],
    ids=["many long cells", "a large sort", "too many columns", "nothing"],
)
def test_a_statement_takes_its_share_of_the_machine_alone(shop: str, sql: str) -> None:
    with pytest.raises(InvalidInput):
        query(shop, sql)


def test_a_long_cell_is_cut_or_ends_its_child(shop: str, postgres_shop: str) -> None:
    answer = query(shop, "SELECT printf('%.*c', 900000, 'x') AS a, 2 AS a")
    assert (answer["columns"], answer["rows"], answer["is_complete"]) == (["a", "a"], [["x" * 4_000, 2]], False)
    with pytest.raises(InvalidInput, match="memory"):
        statements.run_statement(postgres_shop, "SELECT repeat('x', 40000000)", ProcessLimits(200 << 20, 60, 60))
    with pytest.raises(PermissionDenied, match="CREATE ROLE"):
        statements.run_statement(superuser_of(postgres_shop).replace("shop_reader:secret@", "postgres:@"), "SELECT 1")


def test_the_products_own_database_is_refused_on_both_stores(store: Store, postgres_shop: str) -> None:
    url = store.url.render_as_string(hide_password=False).replace("+psycopg", "")
    with pytest.raises(PermissionDenied):
        check_address(url)
    with pytest.raises(PermissionDenied):
        query(url, "SELECT * FROM vault_keys")


def test_addresses_are_checked_and_shown_without_their_password(tmp_path: Path) -> None:
    for address in ("mysql://host/db", "sqlite://relative.db", "nonsense"):
        with pytest.raises(InvalidInput):
            check_address(address)
    with pytest.raises(NotFound):
        check_address(f"sqlite:///{tmp_path / 'missing.db'}")
    assert hide_password("postgresql://me:secret@host:5432/db?x=1") == "postgresql://me@host:5432/db"


def test_postgres_answers_a_select_and_describes_its_tables(postgres_shop: str) -> None:
    answer = query(postgres_shop, "SELECT id, name FROM orders WHERE name LIKE 'n%' ORDER BY id;")
    assert (answer["columns"], len(answer["rows"]), answer["is_complete"]) == (["id", "name"], 100, False)
    tool = build_server(DatabaseSettings({"shop": postgres_shop})).find("describe_database")
    assert tool is not None
    assert tool.call(OPERATOR, {"database": "shop"}) == {"tables": {"public.orders": ["id integer", "name text"]}}


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM orders",
        "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone",
        "SELECT 1; DELETE FROM orders",
        "COMMIT",
        "SET transaction_read_only = off",
        "DO $$ BEGIN COMMIT; DELETE FROM orders; END $$",
        "COPY orders TO '/tmp/x'",
        "CREATE TABLE x (a int)",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SELECT U&\"pg_read\\005ffile\"('/etc/passwd')",
        "SELECT pg_catalog.pg_sleep(60)",
        "SELECT lo_get(1)",
        "SELECT query_to_xml('SELECT lo_get(1)', true, true, '')",
        "SELECT pg_terminate_backend(1)",
        "ANALYZE orders",
        "EXPLAIN ANALYZE DELETE FROM orders",
        "nonsense",
    ],
)
def test_postgres_refuses_whatever_is_not_reading(postgres_shop: str, sql: str) -> None:
    reader = PostgresReader(postgres_shop)
    with pytest.raises(InvalidInput):
        reader.query(sql)
    assert reader.query("SELECT count(*) FROM orders").rows == [[250]]


def test_a_role_that_may_do_too_much_is_refused_with_what_to_do(postgres_shop: str, postgres_server: str) -> None:
    with pytest.raises(PermissionDenied, match=r"superuser.*CREATE ROLE"):
        check_address(superuser_of(postgres_server))
