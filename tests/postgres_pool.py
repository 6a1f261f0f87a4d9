"""Migrated PostgreSQL databases that are emptied after a test and used again under another name.

To copy one takes a second of a busy machine, since it has more than a thousand files; to empty one takes some
hundredths. A database that somebody is still connected to, or whose schema a test has changed, is not used again.
"""

import time
import uuid
from dataclasses import dataclass, field

import psycopg
from psycopg import sql
from sqlalchemy import make_url

_LEAVE_S = 0.5  # that a closed connection may take to be gone
_LARGE = 1_000  # rows; a table with more is truncated, so that its dead rows are never read

# What any change of definitions moves, in every schema.
_SCHEMA = """
SELECT ARRAY[
  (SELECT md5(string_agg(concat_ws('/', oid, relname, relacl, reloptions), ',' ORDER BY oid)) FROM pg_class
     WHERE relnamespace <> 'pg_toast'::regnamespace),
  (SELECT md5(string_agg(xmin::text, ',' ORDER BY attrelid, attnum)) FROM pg_attribute WHERE attrelid >= 16384),
  (SELECT md5(string_agg(oid::text || xmin::text, ',' ORDER BY oid)) FROM pg_trigger),
  (SELECT md5(string_agg(oid::text || xmin::text, ',' ORDER BY oid)) FROM pg_proc WHERE oid >= 16384),
  (SELECT md5(string_agg(oid::text || xmin::text, ',' ORDER BY oid)) FROM pg_constraint),
  (SELECT md5(string_agg(oid::text || nspname || coalesce(nspacl::text, ''), ',' ORDER BY oid)) FROM pg_namespace
     WHERE nspname !~ '^pg_(toast_)?temp'),
  (SELECT count(*)::text FROM pg_largeobject_metadata),
  (SELECT count(*)::text FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
     WHERE d.datname = current_database())
]"""
_TABLES = """
SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
ORDER BY 1, 2"""
_SEQUENCES = "SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2"

Name = tuple[str, str]  # schema, table or sequence


@dataclass
class _Fresh:
    """What an unused database holds."""

    schema: list[str | None]
    tables: list[Name]
    marks: dict[Name, tuple[int, int]]
    rows: dict[Name, bytes]  # as COPY writes them, of the tables that are not empty
    sequences: dict[Name, int | None]


@dataclass
class DatabasePool:
    """Databases of one server, copied from its template."""

    server: str
    template: str
    _free: list[str] = field(default_factory=list)
    _fresh: _Fresh | None = None

    def take(self) -> str:
        """The name of an empty, migrated database that no test has seen."""
        name = f"t{uuid.uuid4().hex}"
        with self._connect("postgres") as connection:
            if self._free:
                _run(connection, "ALTER DATABASE {} RENAME TO {}", self._free.pop(), name)
            else:
                _run(connection, "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, self.template)
        if self._fresh is None:
            with self._connect(name) as connection:
                self._fresh = _read_fresh(connection)
        return name

    def give_back(self, name: str) -> None:
        """Empty a database for the next test; one that can't be is left as it is until the server goes."""
        assert self._fresh is not None
        with self._connect("postgres") as connection:
            if not _is_left(connection, name):
                return
        with self._connect(name) as connection:
            if _restore(connection, self._fresh):
                self._free.append(name)

    def _connect(self, database: str) -> psycopg.Connection:
        url = make_url(self.server).set(drivername="postgresql", database=database)
        return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


def _run(connection: psycopg.Connection, statement: str, *names: str) -> None:
    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _is_left(connection: psycopg.Connection, name: str) -> bool:
    """Whether everybody has left a database."""
    until = time.monotonic() + _LEAVE_S
    while True:
        row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", (name,)).fetchone()
        if row == (0,):
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.01)


def _read_fresh(connection: psycopg.Connection) -> _Fresh:
    tables = [(str(schema), str(table)) for schema, table in connection.execute(_TABLES)]
    marks = _read_marks(connection, tables)
    rows = {}
    for name, (count, _) in marks.items():
        if count:
            with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(*name))) as copy:
                rows[name] = b"".join(copy)
    return _Fresh(_read_schema(connection), tables, marks, rows, _read_sequences(connection))


def _read_schema(connection: psycopg.Connection) -> list[str | None]:
    row = connection.execute(_SCHEMA).fetchone()
    assert row is not None
    return list(row[0])


def _read_marks(connection: psycopg.Connection, tables: list[Name]) -> dict[Name, tuple[int, int]]:
    """How many rows each table has, and a sum that any write to one of them moves."""
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}, count(*), coalesce(sum(xmin::text::bigint), 0)::bigint FROM {}").format(
            sql.Literal(number), sql.Identifier(*name)
        )
        for number, name in enumerate(tables)
    )
    return {tables[number]: (count, mark) for number, count, mark in connection.execute(query)}


def _read_sequences(connection: psycopg.Connection) -> dict[Name, int | None]:
    return {(str(schema), str(name)): last for schema, name, last in connection.execute(_SEQUENCES)}


def _restore(connection: psycopg.Connection, fresh: _Fresh) -> bool:
    """Give the tables and sequences what they held at first; False where the schema is another."""
    if _read_schema(connection) != fresh.schema:
        return False
    marks = _read_marks(connection, fresh.tables)
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")  # no trigger, no foreign key
        for name, mark in marks.items():
            if mark == fresh.marks[name]:
                continue
            verb = "TRUNCATE {}" if mark[0] > _LARGE else "DELETE FROM {}"
            connection.execute(sql.SQL(verb).format(sql.Identifier(*name)))
            if name in fresh.rows:
                with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(*name))) as copy:
                    copy.write(fresh.rows[name])
        for name, last in _read_sequences(connection).items():
            if last != fresh.sequences[name]:
                first = fresh.sequences[name]
                text = f'"{name[0]}"."{name[1]}"'
                connection.execute(
                    "SELECT setval(%s, %s, %s)", (text, 1 if first is None else first, first is not None)
                )
    return True
