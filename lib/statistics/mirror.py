"""A columnar copy of the ledger in DuckDB, one per process, that follows `usage_logs` by `change_seq`.

`refresh` asks the ledger's clock first, one row; only when it has moved are the new and changed rows read, in one
snapshot, and put in place of their earlier selves, in batches through Arrow. An epoch that is another (rows have left,
or it is another ledger) or a clock that has gone back (an older backup) starts the copy over. The copy is never the
record: it may be thrown away at any time.

Values are bound. One connection, a cursor per query, one query at a time: more would only take the processor from the
model calls that share this process.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import csv
from sqlalchemy import Connection, text

from lib.db.engine import Store
from lib.statistics import copy_file

log = logging.getLogger(__name__)

_BATCH = 5_000  # larger ones are no faster and leave their memory behind

# name → (type in DuckDB, type in Arrow); the order is that of the columns.
_COLUMNS: dict[str, tuple[str, pa.DataType]] = {
    "id": ("UUID", pa.string()),
    "call_id": ("UUID", pa.string()),
    "change_seq": ("BIGINT", pa.int64()),
    "started_at": ("TIMESTAMP", pa.string()),
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
    "prompt_tokens": ("BIGINT", pa.int64()),
    "completion_tokens": ("BIGINT", pa.int64()),
    "total_tokens": ("BIGINT", pa.int64()),
    "cache_read_tokens": ("BIGINT", pa.int64()),
    "cost_nano_usd": ("BIGINT", pa.int64()),
    "saved_nano_usd": ("BIGINT", pa.int64()),
    "execution_time_ms": ("BIGINT", pa.int64()),
    "first_token_ms": ("BIGINT", pa.int64()),
}


_TABLES = {
    "calls": ", ".join(f"{name} {kind}" for name, (kind, _) in _COLUMNS.items()),
    "seen": "epoch BIGINT, change_seq BIGINT",
}
_NULLABLE = {pa.int64(): pd.Int64Dtype(), pa.float64(): pd.Float64Dtype()}.get


@dataclass(frozen=True)
class Version:
    """What the copy has seen: the ledger's epoch and its last change."""

    epoch: int
    change_seq: int


_NOTHING = Version(-1, 0)


class Mirror:
    """The copy of one store, in a file of `folder`, or in memory without one. Thread-safe."""

    def __init__(self, store: Store, folder: Path | None = None) -> None:
        self._store = store
        self._lock = threading.RLock()
        pa.set_memory_pool(pa.system_memory_pool())  # the others keep what they once took
        self._file = copy_file.claim(folder, _TABLES) if folder else None
        self._open()

    def _open(self) -> None:
        self._connection = self._file.connection if self._file else copy_file.in_memory(_TABLES)
        seen = self._connection.execute("SELECT epoch, change_seq FROM seen").fetchone()
        self._version = Version(*seen) if seen else _NOTHING

    def refresh(self) -> Version:
        """Bring the copy up to the ledger's last commit and return what it has seen."""
        with self._lock, self._store.read() as connection:
            clock = connection.execute(text("SELECT epoch, change_seq FROM ledger_clock WHERE id = 1")).one()
            now = Version(clock.epoch, clock.change_seq)
            if now != self._version:
                try:
                    self._follow(connection, now)
                except duckdb.Error as error:  # a damaged file, a full disk
                    self._leave_file(error)
                    self._follow(connection, now)
            return self._version

    def frame(self, sql: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """The rows of a query, values bound, as of the last refresh; integers stay integers, missing ones `<NA>`."""
        with self._lock, self._cursor() as cursor:
            answer = cursor.sql(sql, params=list(parameters)).to_arrow_table()
            frame: pd.DataFrame = answer.to_pandas(types_mapper=_NULLABLE)
            return frame

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query as Python values: exact integers, None for unknown."""
        with self._lock, self._cursor() as cursor:
            result: list[tuple[Any, ...]] = cursor.execute(sql, list(parameters)).fetchall()
            return result

    def close(self) -> None:
        """Free the copy; one in a file is there again at the next start."""
        with self._lock:
            self._connection.close()
            if self._file:
                self._file.release()

    def _leave_file(self, error: duckdb.Error) -> None:
        """Go on in memory; the file is made anew at the next start."""
        if self._file is None:
            raise error
        log.warning("The statistics' copy of the ledger can't be kept in a file and goes on in memory: %s", error)
        self._file.discard()
        self._file = None
        self._open()

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    def _follow(self, connection: Connection, now: Version) -> None:
        """Apply every change after the last one seen, all or nothing."""
        start_over = now.epoch != self._version.epoch or now.change_seq < self._version.change_seq
        seen = 0 if start_over else self._version.change_seq
        with self._cursor() as cursor:
            cursor.begin()
            try:
                if start_over:
                    cursor.execute("DELETE FROM calls")
                for batch in _changes(connection, self._store.is_sqlite, seen, now.change_seq):
                    _apply(cursor, batch, may_be_there=not start_over)
                cursor.execute("DELETE FROM seen")
                cursor.execute("INSERT INTO seen VALUES (?, ?)", [now.epoch, now.change_seq])
                cursor.commit()
            except BaseException:
                cursor.rollback()
                raise
            if start_over and now.change_seq:
                cursor.execute("CHECKPOINT")  # compresses
        self._version = now


def _changes(connection: Connection, is_sqlite: bool, after: int, until: int) -> Iterator[pa.Table]:
    """Rows whose change number is in (after, until], as Arrow tables; one statement, so one snapshot.

    The database writes them as CSV and Arrow reads that: both outside Python, with no object made of any value.
    """
    column = "change_seq" if after else "+change_seq"  # from the start: read the table in order, not by the index
    condition = f"{column} > {after:d} AND {column} <= {until:d}"
    driver: Any = connection.connection.dbapi_connection
    with closing(driver.cursor()) as cursor:
        if is_sqlite:
            lines = cursor.execute(f"SELECT {_line()} FROM usage_logs WHERE {condition}")  # noqa: S608 - our names
            while rows := lines.fetchmany(_BATCH):
                yield _table("\n".join(text for (text,) in rows).encode())
        else:
            names = ", ".join(map(_utc_text, _COLUMNS))
            query = f"SELECT {names} FROM usage_logs WHERE {condition}"  # noqa: S608 - our names, integers
            with cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv)") as lines:
                rows = map(bytes, lines)
                while part := b"".join(islice(rows, _BATCH)):
                    yield _table(part)


def _line() -> str:
    """A row as a line of CSV, in SQLite: text in quotes, its own doubled (`%w`), unknown as nothing."""
    forms, values = list[str](), list[str]()
    for name, (kind, _) in _COLUMNS.items():
        quote = f"iif({name} IS NULL, '', '\"')"
        forms.append("%s%w%s" if kind == "VARCHAR" else "%s")
        values += [quote, f"coalesce({name}, '')", quote] if kind == "VARCHAR" else [name]
    return f"format('{','.join(forms)}', {', '.join(values)})"


def _utc_text(name: str) -> str:
    """A column as PostgreSQL writes it: moments as UTC, as SQLite keeps them."""
    return f"to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')" if name == "started_at" else name


def _table(lines: bytes) -> pa.Table:
    return csv.read_csv(
        pa.BufferReader(lines),
        csv.ReadOptions(use_threads=False, column_names=list(_COLUMNS), block_size=len(lines) + 1),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(
            column_types={name: kind for name, (_, kind) in _COLUMNS.items()},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["1", "t"],
            false_values=["0", "f"],
        ),
    )


def _apply(cursor: duckdb.DuckDBPyConnection, batch: pa.Table, *, may_be_there: bool) -> None:
    """Put a batch in, in place of the rows' earlier selves."""
    cursor.register("batch", batch)
    if may_be_there:
        cursor.execute("DELETE FROM calls WHERE id IN (SELECT CAST(id AS UUID) FROM batch)")
    cursor.execute("INSERT INTO calls SELECT * FROM batch")  # text becomes TIMESTAMP here
    cursor.unregister("batch")
