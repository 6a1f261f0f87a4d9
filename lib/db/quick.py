"""Statements that run thousands of times a second.

On SQLite, SQLAlchemy's own execution costs ten times what the statement does. A `Quick` is compiled once and then given
to the driver, with the values converted by the columns' own types both ways, inside whatever transaction the connection
is in. On PostgreSQL, where the network costs more than that, SQLAlchemy executes it as ever.

A list in a condition (`bindparam(…, expanding=True)`) is one JSON parameter there.
"""

import re
import sqlite3
from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

from lib.fast_json import decode, encode_text

_SQLITE = sqlite.dialect(paramstyle="named", json_serializer=encode_text, json_deserializer=decode)
_LIST = re.compile(r"\(__\[POSTCOMPILE_(\w+)\]\)")
_ONE, _PAIR = (
    "SELECT value FROM json_each(:{0})",
    ("SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:{0})"),
)


class Quick:
    """A select, update or delete of SQLAlchemy's, which may return rows; `pairs` names lists of pairs."""

    def __init__(self, statement: Any, pairs: Sequence[str] = ()) -> None:
        compiled = statement.compile(dialect=_SQLITE)
        self._statement = statement
        self._lists = tuple(_LIST.findall(str(compiled)))
        self._sql = _LIST.sub(
            lambda found: f"({(_PAIR if found[1] in pairs else _ONE).format(found[1])})", str(compiled)
        )
        self._constants = {name: value for name, value in compiled.params.items() if not compiled.binds[name].required}
        self._bind = {
            name: convert
            for name, bind in compiled.binds.items()
            if name not in self._lists and (convert := bind.type.dialect_impl(_SQLITE).bind_processor(_SQLITE))
        }
        self._constants = {name: self._bind.get(name, _same)(value) for name, value in self._constants.items()}
        columns = list(getattr(statement, "exported_columns", ()))
        self._row: Any = namedtuple("Row", [column.key for column in columns]) if columns else None
        self._read = [
            (index, convert)
            for index, column in enumerate(columns)
            if (convert := column.type.dialect_impl(_SQLITE).result_processor(_SQLITE, None))
        ]

    def all(self, connection: Connection, params: Mapping[str, Any]) -> list[Any]:
        """Execute it once: the rows it returns, with the columns' names."""
        if connection.dialect.name != "sqlite":
            return list(connection.execute(self._statement, dict(params)).all())
        found = execute(connection, self._sql, self._converted(params)).fetchall()
        if self._row is None:
            return []
        if self._read:
            rows = [list(row) for row in found]
            for row in rows:
                for index, convert in self._read:
                    row[index] = convert(row[index])
            found = rows
        return [self._row._make(row) for row in found]

    def run(self, connection: Connection, params: Sequence[Mapping[str, Any]]) -> None:
        """Execute it for each of the parameters."""
        if connection.dialect.name != "sqlite":
            connection.execute(self._statement, [dict(one) for one in params])
        elif len(params) == 1:
            execute(connection, self._sql, self._converted(params[0]))
        else:
            execute_many(connection, self._sql, [self._converted(one) for one in params])

    def _converted(self, params: Mapping[str, Any]) -> dict[str, Any]:
        values = {**self._constants, **params}
        for name, convert in self._bind.items():
            if name in params:
                values[name] = convert(values[name])
        for name in self._lists:
            values[name] = encode_text(list(values[name]))
        return values


def _same(value: Any) -> Any:
    return value


def execute(connection: Connection, sql: str, params: Any) -> Any:
    """Give a statement to SQLite's driver; its cursor. Failures are SQLAlchemy's, without the values."""
    try:
        return _driver(connection).execute(sql, params)
    except sqlite3.Error as error:
        raise DBAPIError.instance(sql, None, error, sqlite3.Error, hide_parameters=True) from error


def execute_many(connection: Connection, sql: str, params: Iterable[Any]) -> None:
    """The same for many parameters."""
    try:
        _driver(connection).executemany(sql, params)
    except sqlite3.Error as error:
        raise DBAPIError.instance(sql, None, error, sqlite3.Error, hide_parameters=True) from error


def _driver(connection: Connection) -> Any:
    """The driver's own connection, inside the transaction that SQLAlchemy would have begun."""
    if not connection.in_transaction():
        connection.begin()
    return connection.connection.dbapi_connection
