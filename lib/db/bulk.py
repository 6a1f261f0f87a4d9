"""Inserting many rows at once, as fast as the driver allows.

SQLAlchemy prepares every row of an executemany by itself, which costs more than SQLite's own work. Here each column's
value is converted by its type's own converter and the rows go to the driver as they are. Columns that say nothing are
left out: Python's driver for SQLite takes a quarter of a microsecond for each None, and for each bool. `copy_rows` is
for many: on PostgreSQL it is COPY.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any

from msgspec import Struct
from sqlalchemy import Boolean, Column, Connection, Dialect, Table

from lib.db.compiled_statements import execute, execute_many, get_bind_converter
from lib.fast_json import encode_text


def insert_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]] | Sequence[Struct]) -> None:
    """Insert rows that all have the same columns, by name or as fields; an unknown column is a KeyError."""
    if not rows:
        return
    first: Any = rows[0]
    is_record = isinstance(first, Struct)
    all_names = first.__struct_fields__ if is_record else tuple(first)
    read_values = _make_reader(all_names, is_record=is_record)
    columns = list(zip(*map(read_values, rows), strict=True))
    nones = len(rows)
    used = [
        index
        for index, has_default in enumerate(_list_defaulted(table, all_names))
        if has_default or columns[index].count(None) != nones
    ]
    names = tuple([all_names[index] for index in used])
    statement, converters = _prepare_insert(table, names, connection.dialect)
    values = list(map(list, zip(*[columns[index] for index in used], strict=True)))
    for index, convert in converters:
        for row_values in values:
            row_values[index] = convert(row_values[index])
    if len(values) == 1:
        execute(connection, statement, values[0])
    else:
        execute_many(connection, statement, values)


def copy_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert thousands of rows that all have the same columns: by COPY on PostgreSQL, by `insert_rows` on SQLite."""
    if connection.dialect.name == "sqlite" or not rows:
        insert_rows(connection, table, rows)
        return
    names = tuple(rows[0])
    listed = ", ".join(f'"{table.c[name].name}"' for name in names)
    driver: Any = connection.connection.dbapi_connection
    with driver.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({listed}) FROM STDIN') as lines:
        for row in rows:
            lines.write_row([encode_text(v) if type(v) in (dict, list) else v for v in map(row.__getitem__, names)])


def insert_columns(connection: Connection, table: Table, columns: Mapping[str, Sequence[Any]]) -> None:
    """Insert columns of equal length whose values are as they are stored: moments as UTC text, JSON as text."""
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:
        columns = {
            name: list(map(int, values)) if values and type(values[0]) is bool else values
            for name, values in columns.items()
            if any(value is not None for value in values) or _has_default(table, name)
        }
    rows = zip(*columns.values(), strict=True)
    listed = ", ".join(f'"{table.c[name].name}"' for name in columns)
    if is_sqlite:
        marks = ", ".join("?" * len(columns))
        execute_many(connection, f'INSERT INTO "{table.name}" ({listed}) VALUES ({marks})', rows)  # noqa: S608 (our own names)
        return
    driver: Any = connection.connection.dbapi_connection
    driver.execute("SET LOCAL TimeZone TO 'UTC'")
    with driver.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({listed}) FROM STDIN') as lines:
        for row in rows:
            lines.write_row(row)


def _has_default(table: Table, name: str) -> bool:
    """Whether leaving a column out gives it a value."""
    return table.c[name].server_default is not None


@lru_cache(maxsize=256)
def _make_reader(names: tuple[str, ...], *, is_record: bool) -> Any:
    """Make what reads a row's values in the order of the names."""
    get: Any = attrgetter if is_record else itemgetter
    return get(*names) if len(names) > 1 else lambda row: (get(names[0])(row),)


@lru_cache(maxsize=256)
def _list_defaulted(table: Table, names: tuple[str, ...]) -> tuple[bool, ...]:
    """For each of the columns, whether leaving it out gives it a value; an unknown one is a KeyError."""
    return tuple([_has_default(table, name) for name in names])


@lru_cache(maxsize=256)
def _prepare_insert(table: Table, names: tuple[str, ...], dialect: Dialect) -> tuple[str, tuple[tuple[int, Any], ...]]:
    """Build the INSERT of these columns, and (index, converter) of the columns whose values need one."""
    columns = [table.c[name] for name in names]
    converters = tuple(
        (index, convert)
        for index, column in enumerate(columns)
        if (convert := _get_converter(column, dialect)) is not None
    )
    marks = ", ".join(["?" if dialect.name == "sqlite" else "%s"] * len(columns))
    listed = ", ".join(f'"{column.name}"' for column in columns)
    return f'INSERT INTO "{table.name}" ({listed}) VALUES ({marks})', converters  # noqa: S608 (names of our own)


def _get_converter(column: Column[Any], dialect: Dialect) -> Any:
    if isinstance(column.type, Boolean):
        return _convert_bool if dialect.name == "sqlite" else None
    return get_bind_converter(column.type, dialect)


def _convert_bool(value: bool | None) -> int | None:
    return None if value is None else int(value)
