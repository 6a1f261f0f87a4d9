"""One PostgreSQL database, read-only by the engine: one statement at a time, in a read-only transaction.

The extended protocol takes one statement. Before it runs, the server itself plans it (`EXPLAIN VERBOSE`): what has no
plan (SET, COPY, DO, COMMIT …) is refused, and so is a plan that changes a table or calls a function that reaches files,
large objects, other servers or other sessions; the plan writes such a name as it is, however the statement wrote it.
A role that could do these things inside a function of its own is refused at once, with what to revoke.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg

from lib.errors import InvalidInput, PermissionDenied
from lib.mcp.bundled.tabular import STATEMENT_S, Rows, take_rows
from lib.patterns import compile_pattern

_CONNECT_S = 10
_OPTIONS = (
    f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_S * 1000} -c lock_timeout=5000 "
    f"-c idle_in_transaction_session_timeout={2 * STATEMENT_S * 1000} -c work_mem=16MB"
)
_DENIED = compile_pattern(
    r"\b(?:pg_(?:read|ls|stat|write|logdir|file|rotate|reload|terminate|cancel|sleep|advisory|try_advisory|notify|"
    r"switch|create|drop|promote|wal|backup|start|stop|import|export|log|replication|logical|current_logfile|"
    r"hba|ident|show_all_file|export_snapshot)\w*|lo_\w+|loread|lowrite|lo|dblink\w*|set_config|(?:query|table|cursor|"
    r"schema|database)_to_xml\w*|(?:next|set|last)val|currval|txid_current|postgres_fdw\w*|xpath_table|crosstab\w*|"
    r"connectby|ts_stat|ts_rewrite)\s*\(",
    re.IGNORECASE,
)
_FILE_ROLES = ("pg_read_server_files", "pg_write_server_files", "pg_execute_server_program")
_ROLE_SQL: LiteralString = """
SELECT rolname, rolsuper,
  (SELECT count(*) FROM pg_roles r WHERE r.rolname = ANY(%s) AND pg_has_role(current_user, r.oid, 'MEMBER')),
  (SELECT min(p.oid::regprocedure::text) FROM pg_proc p
    WHERE (p.proname LIKE 'dblink%%' OR p.proname IN ('pg_read_file', 'pg_read_binary_file', 'lo_import', 'lo_export'))
      AND has_function_privilege(current_user, p.oid, 'EXECUTE'))
FROM pg_roles WHERE rolname = current_user"""
_COLUMNS_SQL: LiteralString = """
SELECT n.nspname || '.' || c.relname, a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
ORDER BY 1, a.attnum LIMIT 5000"""


class PostgresReader:
    """Opens a connection for each question, so that nothing is kept between two."""

    def __init__(self, address: str) -> None:
        self._address = address

    def describe(self) -> dict[str, list[str]]:
        """Columns with their types, by `schema.table`."""
        tables = dict[str, list[str]]()
        with self._connect() as connection:
            for table, column in connection.execute(_COLUMNS_SQL).fetchall():
                tables.setdefault(table, []).append(column)
        return tables

    def query(self, sql: str) -> Rows:
        """The rows of one statement; raises InvalidInput with the server's own words."""
        with self._connect() as connection:
            try:
                _check_plan(connection, sql)
                cursor = psycopg.RawCursor(connection)
                source: Iterator[tuple[Any, ...]] = cursor.stream(_encode_query(sql), [])  # a row at a time
                first = next(source, None)
                columns = [column.name for column in cursor.description or ()]
                rows = take_rows(columns, source if first is None else _chain(first, source))
            except psycopg.Error as error:
                raise _explain(error) from None
        return rows

    @contextmanager
    def _connect(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """A connection in a read-only transaction, which is rolled back; raises for a role that may do too much."""
        try:
            connection = psycopg.connect(
                self._address,
                connect_timeout=_CONNECT_S,
                options=_OPTIONS,
                application_name="llm-manager tools",
                autocommit=True,
            )
        except psycopg.Error as error:
            raise _explain(error) from None
        try:
            connection.execute("BEGIN READ ONLY")
            _check_role(connection)
            yield connection
        finally:
            connection.close()


def _check_role(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    row = connection.execute(_ROLE_SQL, (list(_FILE_ROLES),)).fetchone()
    role, is_superuser, file_roles, function = row or ("?", True, 0, None)
    if not is_superuser and not file_roles and function is None:
        return
    power = "is a superuser" if is_superuser else "may use the server's files" if file_roles else f"may run {function}"
    raise PermissionDenied(
        "The role of this database may do too much.",
        f"{role} {power}, so a query could leave the database.",
        "Make a role that only reads: CREATE ROLE reader LOGIN PASSWORD '…'; GRANT pg_read_all_data TO reader.",
    )


def _check_plan(connection: psycopg.Connection[tuple[Any, ...]], sql: str) -> None:
    """Let the server plan the statement; refuse a plan that does more than read tables."""
    cursor = psycopg.RawCursor(connection)
    cursor.execute(_encode_query(f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {sql}"), [])
    plan = json.dumps((cursor.fetchone() or (None,))[0])
    if '"ModifyTable"' in plan or '"LockRows"' in plan:
        raise InvalidInput("The statement can't be run.", "Only reading is allowed.", "Send one SELECT.")
    if (call := _DENIED.search(plan)) is not None:
        name = call.group().rstrip("( ")
        raise InvalidInput("The statement can't be run.", f"{name} is not allowed.", "Leave it out.")


def _encode_query(sql: str) -> Any:
    """A statement of somebody else's as psycopg takes it; what it may do is the engine's to say."""
    return sql.encode()


def _chain(first: tuple[Any, ...], following: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    yield first
    yield from following


def _explain(error: psycopg.Error) -> InvalidInput:
    words = (error.diag.message_primary or str(error).splitlines()[0])[:300] if str(error) else "the connection failed"
    if isinstance(error, psycopg.errors.QueryCanceled):
        why = f"It took longer than {STATEMENT_S} s."
        return InvalidInput("The statement was stopped.", why, "Ask for less, or add a condition.")
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return InvalidInput("The statement can't be run.", f"Only reading is allowed ({words}).", "Send one SELECT.")
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return InvalidInput("The database does not answer.", f"{words}.", "Check its address.")
    return InvalidInput("The statement can't be run.", f"{words}.", "Correct it.")
