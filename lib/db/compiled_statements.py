"""Statements that run thousands of times a second.

SQLAlchemy's own execution costs ten times what SQLite needs for such a statement, and as much as PostgreSQL's answer
takes to come. A `CompiledStatement` is compiled once for each kind of database and then given to the driver, with the
values converted by the columns' own types both ways, inside whatever transaction the connection is in.

A list in a condition (`bindparam(…, expanding=True)`) is one JSON parameter. On PostgreSQL statements that need no
answer from each other travel in `pipeline_statements`: one round trip instead of one each.
"""

from collections import namedtuple
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import JSON, Connection, Dialect, Table, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from lib.fast_json import decode, encode_text
from lib.patterns import compile_pattern

_SQLITE = sqlite.dialect(paramstyle="named", json_serializer=encode_text, json_deserializer=decode)
_LIST = compile_pattern(r"\(__\[POSTCOMPILE_(\w+)\]\)")
_LISTS = {  # dialect → how a statement reads a JSON list of values, and of pairs
    "sqlite": (
        "(SELECT value FROM json_each(:{0}))",
        "(SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:{0}))",
    ),
    "postgresql": (
        "(SELECT json_array_elements_text(%({0})s::JSON))",
        "(SELECT value->>0, value->>1 FROM json_array_elements(%({0})s::JSON))",
    ),
}


class CompiledStatement:
    """A statement of SQLAlchemy's, which may return rows; `pairs` names lists of pairs."""

    def __init__(self, statement: Any, pairs: Sequence[str] = ()) -> None:
        self._statement = statement
        self._pairs = pairs
        self._by_dialect: dict[str, _DialectStatement] = {}

    def all(self, connection: Connection, params: Mapping[str, Any]) -> list[Any]:
        """Execute the statement once and return its rows as named tuples."""
        form = self._compile_for(connection.dialect)
        cursor = execute(connection, form.sql, form.convert_parameters(params))
        return [] if form.row is None else form.convert_rows(_fetch_all(connection, cursor))

    def run(self, connection: Connection, params: Sequence[Mapping[str, Any]]) -> None:
        """Execute the statement for each of the parameters; rows are not returned."""
        form = self._compile_for(connection.dialect)
        if len(params) == 1:
            execute(connection, form.sql, form.convert_parameters(params[0]))
        else:
            execute_many(connection, form.sql, [form.convert_parameters(values) for values in params])

    def _compile_for(self, dialect: Dialect) -> "_DialectStatement":
        form = self._by_dialect.get(dialect.name)
        if form is None:
            own = _SQLITE if dialect.name == "sqlite" else dialect
            form = self._by_dialect[dialect.name] = _DialectStatement(self._statement, self._pairs, own)
        return form


def compile_upserts(table: Table, key: Sequence[str], unchanged: Sequence[str] = ()) -> dict[str, CompiledStatement]:
    """Compile, for each kind of database, the statement that writes a whole row, over the one of the same key.

    Its parameters are `new_…` by column. `unchanged` columns stay as they were first written.
    """
    statements = {}
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql)):
        statement: Any = dialect.insert(table).values(
            {column.name: bindparam(f"new_{column.name}", type_=column.type) for column in table.columns}
        )
        changed = {
            column.name: statement.excluded[column.name]
            for column in table.columns
            if column.name not in (*key, *unchanged)
        }
        statements[name] = CompiledStatement(statement.on_conflict_do_update(index_elements=list(key), set_=changed))
    return statements


class _DialectStatement:
    """A statement as one kind of database's driver takes it."""

    def __init__(self, statement: Any, pairs: Sequence[str], dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        values, in_pairs = _LISTS[dialect.name]
        self._lists = tuple(_LIST.findall(str(compiled)))
        self.sql = _LIST.sub(lambda match: (in_pairs if match[1] in pairs else values).format(match[1]), str(compiled))
        self._bind = {
            name: convert
            for name, bind in compiled.binds.items()
            if name not in self._lists and (convert := get_bind_converter(bind.type, dialect))
        }
        constants = {name: value for name, value in compiled.params.items() if not compiled.binds[name].required}
        self._constants = {name: self._bind.get(name, _return_unchanged)(value) for name, value in constants.items()}
        columns = list(getattr(statement, "exported_columns", ()))
        self.row: Any = namedtuple("Row", [column.key for column in columns]) if columns else None
        self._read = [
            (index, convert)
            for index, column in enumerate(columns)
            if (convert := column.type.dialect_impl(dialect).result_processor(dialect, None))
        ]

    def convert_parameters(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Convert parameters to what the driver takes."""
        values = {**self._constants, **params}
        for name, convert in self._bind.items():
            if name in params:
                values[name] = convert(values[name])
        for name in self._lists:
            values[name] = encode_text(list(values[name]))
        return values

    def convert_rows(self, rows: Sequence[Any]) -> list[Any]:
        """Convert the driver's rows to named tuples with the columns' own types."""
        if self._read:
            rows = [list(row) for row in rows]
            for row in rows:
                for index, convert in self._read:
                    row[index] = convert(row[index])
        return [self.row._make(row) for row in rows]


def get_bind_converter(kind: Any, dialect: Dialect) -> Any:
    """Get the function that turns a value of a column's type into what the driver takes; None where that is the value
    itself.
    """
    if isinstance(kind, JSON):
        return _encode_unless_none if kind.none_as_null else encode_text
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _encode_unless_none(value: Any) -> str | None:
    return None if value is None else encode_text(value)


def _return_unchanged(value: Any) -> Any:
    return value


def execute(connection: Connection, sql: str, params: Any) -> Any:
    """Give a statement to the driver and return its cursor. Failures are SQLAlchemy's, without the values."""
    try:
        return _get_driver(connection).execute(sql, params)
    except _get_driver_error(connection) as error:
        raise _wrap_error(connection, sql, error) from error


def execute_many(connection: Connection, sql: str, params: Iterable[Any]) -> None:
    """Give a statement to the driver with many parameters. Failures are SQLAlchemy's, without the values."""
    driver = _get_driver(connection)
    try:
        if connection.dialect.name == "sqlite":
            driver.executemany(sql, params)
        else:
            with driver.cursor() as cursor:
                cursor.executemany(sql, params)
    except _get_driver_error(connection) as error:
        raise _wrap_error(connection, sql, error) from error


@contextmanager
def pipeline_statements(connection: Connection) -> Iterator[None]:
    """Send the block's compiled statements, which need no answer from each other, to PostgreSQL in one message.

    What is refused is raised at the first answer that is asked for, at the end of the block at the latest.
    """
    if connection.dialect.name == "sqlite":
        yield
        return
    try:
        with _get_driver(connection).pipeline():
            yield
    except _get_driver_error(connection) as error:
        raise _wrap_error(connection, "", error) from error


def _fetch_all(connection: Connection, cursor: Any) -> Any:
    try:
        return cursor.fetchall()
    except _get_driver_error(connection) as error:
        raise _wrap_error(connection, "", error) from error


def _get_driver_error(connection: Connection) -> type[Exception]:
    return connection.dialect.loaded_dbapi.Error


def _wrap_error(connection: Connection, sql: str, error: Any) -> Exception:
    dialect = connection.dialect
    is_lost = not connection.invalidated and dialect.is_disconnect(error, connection.connection.dbapi_connection, None)
    if is_lost:
        connection.invalidate(error)
    return DBAPIError.instance(  # type: ignore[no-any-return]
        sql, None, error, dialect.loaded_dbapi.Error, hide_parameters=True, connection_invalidated=is_lost
    )


def _get_driver(connection: Connection) -> Any:
    """The driver's own connection, inside the transaction that SQLAlchemy would have begun."""
    if not connection.in_transaction():
        connection.begin()
    return connection.connection.dbapi_connection
