"""Rows of the ledger as a copy reads them: the columns it keeps, and their values as lines of CSV.

The database writes CSV and Arrow reads that: both outside Python, with no object made of any value.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from itertools import islice
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import csv
from sqlalchemy import Connection, text

from lib.statistics.copy.copy_columns import find_expression

_BATCH = 5_000  # larger ones are no faster and leave their memory behind

# name → (type in DuckDB, type in Arrow); the order is that of the columns.
COLUMNS: dict[str, tuple[str, pa.DataType]] = {
    "id": ("UUID", pa.string()),
    "call_id": ("UUID", pa.string()),
    "change_seq": ("BIGINT", pa.int64()),
    "started_at": ("TIMESTAMP", pa.string()),
    "attempt": ("INTEGER", pa.int32()),
    "is_final": ("BOOLEAN", pa.bool_()),
    "calls": ("BIGINT", pa.int64()),
    "app": ("VARCHAR", pa.string()),
    "user_id": ("VARCHAR", pa.string()),
    "api_key_id": ("VARCHAR", pa.string()),
    "configuration_id": ("VARCHAR", pa.string()),
    "origin": ("VARCHAR", pa.string()),
    "provider": ("VARCHAR", pa.string()),
    "model": ("VARCHAR", pa.string()),
    "status": ("VARCHAR", pa.string()),
    "served_model": ("VARCHAR", pa.string()),
    "error_kind": ("VARCHAR", pa.string()),
    "lane": ("VARCHAR", pa.string()),
    "service_tier": ("VARCHAR", pa.string()),
    "has_partial_cost": ("BOOLEAN", pa.bool_()),
    "cache": ("VARCHAR", pa.string()),
    "session_id": ("VARCHAR", pa.string()),
    "parent_call_id": ("VARCHAR", pa.string()),
    "workflow_run_id": ("VARCHAR", pa.string()),
    "workflow_step": ("VARCHAR", pa.string()),
    "tags": ("VARCHAR", pa.string()),
    "prompt_tokens": ("BIGINT", pa.int64()),
    "completion_tokens": ("BIGINT", pa.int64()),
    "total_tokens": ("BIGINT", pa.int64()),
    "cache_read_tokens": ("BIGINT", pa.int64()),
    "cache_write_tokens": ("BIGINT", pa.int64()),
    "reasoning_tokens": ("BIGINT", pa.int64()),
    "cache_write_1h_tokens": ("BIGINT", pa.int64()),
    "images": ("BIGINT", pa.int64()),
    "needs_tools": ("BOOLEAN", pa.bool_()),
    "needs_json": ("BOOLEAN", pa.bool_()),
    "cost_nano_usd": ("BIGINT", pa.int64()),
    "saved_nano_usd": ("BIGINT", pa.int64()),
    "fees_nano_usd": ("BIGINT", pa.int64()),
    "execution_time_ms": ("BIGINT", pa.int64()),
    "first_token_ms": ("BIGINT", pa.int64()),
    "team_id": ("VARCHAR", pa.string()),
}


def iterate_changes(connection: Connection, is_sqlite: bool, after: int, until: int) -> Iterator[bytes]:
    """Rows whose change number is in (after, until], as lines of CSV; one statement, so one snapshot."""
    column = "change_seq" if after else "+change_seq"  # from the start: read the table in order, not by the index
    return _iterate_lines(connection, is_sqlite, f"{column} > {after:d} AND {column} <= {until:d}")


def iterate_day(connection: Connection, is_sqlite: bool, day: date, until: int) -> Iterator[bytes]:
    """Rows that started on a day (UTC), of those changed up to `until`, as lines of CSV."""
    begin, end = (f"'{border:%Y-%m-%d} 00:00+00'" for border in (day, day + timedelta(days=1)))
    condition = f"+change_seq <= {until:d} AND started_at >= {begin} AND started_at < {end}"
    return _iterate_lines(connection, is_sqlite, condition)


def count_by_day(connection: Connection, is_sqlite: bool, until: int) -> dict[date, int]:
    """Rows of each day (UTC), of those changed up to `until`."""
    day = "substr(started_at, 1, 10)" if is_sqlite else "to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
    is_visible = "true" if is_sqlite else f"change_seq <= {until:d}"  # SQLite: one snapshot, and the index is enough
    rows = connection.execute(text(f"SELECT {day}, count(*) FROM usage_logs WHERE {is_visible} GROUP BY 1"))  # noqa: S608
    return {date.fromisoformat(name): number for name, number in rows}


def _iterate_lines(connection: Connection, is_sqlite: bool, condition: str) -> Iterator[bytes]:
    driver: Any = connection.connection.dbapi_connection
    with closing(driver.cursor()) as cursor:
        if is_sqlite:
            lines = cursor.execute(f"SELECT {_build_csv_expression()} FROM usage_logs WHERE {condition}")  # noqa: S608 - our names
            while rows := lines.fetchmany(_BATCH):
                yield "\n".join(line for (line,) in rows).encode()
        else:
            names = ", ".join(find_expression(name, is_sqlite=False) for name in COLUMNS)
            query = f"SELECT {names} FROM usage_logs WHERE {condition}"  # noqa: S608 - our names, integers
            with cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv)") as lines:
                rows = map(bytes, lines)
                while part := b"".join(islice(rows, _BATCH)):
                    yield part


def _build_csv_expression() -> str:
    """A row as a line of CSV, in SQLite: text in quotes, its own doubled (`%w`), unknown as nothing."""
    forms = list[str]()
    values = list[str]()
    for name, (kind, _) in COLUMNS.items():
        quote = f"iif({name} IS NULL, '', '\"')"
        forms.append("%s%w%s" if kind == "VARCHAR" else "%s")
        values += (
            [quote, f"coalesce({name}, '')", quote] if kind == "VARCHAR" else [find_expression(name, is_sqlite=True)]
        )
    return f"format('{','.join(forms)}', {', '.join(values)})"


def parse_csv(lines: bytes) -> pa.Table:
    """Lines of CSV as Arrow has them."""
    return csv.read_csv(
        pa.BufferReader(lines),
        csv.ReadOptions(use_threads=False, column_names=list(COLUMNS), block_size=len(lines) + 1),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(
            column_types={name: kind for name, (_, kind) in COLUMNS.items()},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["1", "t"],
            false_values=["0", "f"],
        ),
    )
