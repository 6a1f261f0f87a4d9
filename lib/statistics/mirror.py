"""A columnar copy of the ledger in DuckDB, one per process, that follows `usage_logs` by `change_seq`.

`refresh` asks the ledger's clock first, one row; only when it has moved are the new and changed rows read, in one
snapshot, and put in place of their earlier selves, in batches through Arrow. A raised epoch (rows have left) starts the
copy over. The copy is never the record: it may be thrown away at any time.

DuckDB is locked down: no files, no network, no settings; values are bound. One connection, a cursor per query, one
query at a time: more would only take the processor from the model calls that share this process.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
from sqlalchemy import Connection, text

from lib.db.engine import Store

_BATCH = 50_000

# name → (type in DuckDB, type in Arrow); the order is that of the columns.
_COLUMNS: dict[str, tuple[str, pa.DataType]] = {
    "id": ("VARCHAR", pa.string()),
    "call_id": ("VARCHAR", pa.string()),
    "change_seq": ("BIGINT", pa.int64()),
    "started_at": ("TIMESTAMP", pa.string()),
    "is_final": ("BOOLEAN", pa.bool_()),
    "app": ("VARCHAR", pa.string()),
    "user_id": ("VARCHAR", pa.string()),
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


_NULLABLE = {pa.int64(): pd.Int64Dtype(), pa.float64(): pd.Float64Dtype()}.get


@dataclass(frozen=True)
class Version:
    """What the copy has seen: the ledger's epoch and its last change."""

    epoch: int
    change_seq: int


class Mirror:
    """The copy of one store. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.RLock()
        self._connection = duckdb.connect(":memory:", config={"threads": 1})
        self._connection.execute(f"CREATE TABLE calls ({', '.join(f'{n} {t}' for n, (t, _) in _COLUMNS.items())})")
        self._connection.execute("SET autoinstall_known_extensions = false")
        self._connection.execute("SET autoload_known_extensions = false")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")
        self._version = Version(-1, 0)

    def refresh(self) -> Version:
        """Bring the copy up to the ledger's last commit and return what it has seen."""
        with self._lock, self._store.read() as connection:
            clock = connection.execute(text("SELECT epoch, change_seq FROM ledger_clock WHERE id = 1")).one()
            now = Version(clock.epoch, clock.change_seq)
            if now != self._version:
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
        """Free the copy."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    def _follow(self, connection: Connection, now: Version) -> None:
        """Apply every change after the last one seen, all or nothing."""
        start_over = now.epoch != self._version.epoch
        seen = 0 if start_over else self._version.change_seq
        with self._cursor() as cursor:
            cursor.begin()
            try:
                if start_over:
                    cursor.execute("DELETE FROM calls")
                for batch in _changes(connection, self._store.is_sqlite, seen, now.change_seq):
                    _apply(cursor, batch, may_be_there=not start_over)
                cursor.commit()
            except BaseException:
                cursor.rollback()
                raise
        self._version = now


def _changes(connection: Connection, is_sqlite: bool, after: int, until: int) -> Iterator[pa.Table]:
    """Rows whose change number is in (after, until], as Arrow tables; one statement, so one snapshot."""
    names = [_selected(name, is_sqlite) for name in _COLUMNS]
    column = "change_seq" if after else "+change_seq"  # from the start: read the table in order, not by the index
    query = f"SELECT {', '.join(names)} FROM usage_logs WHERE {column} > {after:d} AND {column} <= {until:d}"  # noqa: S608 - our names, integers
    driver = connection.connection.dbapi_connection  # the driver's own tuples: twice as fast as SQLAlchemy's rows
    assert driver is not None  # noqa: S101 - the connection is open
    cursor = driver.cursor() if is_sqlite else driver.cursor("mirror")  # named: streams
    try:
        cursor.execute(query)
        while rows := cursor.fetchmany(_BATCH):
            yield _table(rows)
    finally:
        cursor.close()


def _selected(name: str, is_sqlite: bool) -> str:
    """A column as it travels: moments as UTC text, the form SQLite stores and DuckDB reads fastest."""
    if name == "started_at" and not is_sqlite:
        return "to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
    return name


def _table(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    columns: Iterable[tuple[Any, ...]] = zip(*rows, strict=True)
    arrays = []
    for values, (name, (_, kind)) in zip(columns, _COLUMNS.items(), strict=True):
        arrays.append(pa.array(map(bool, values) if name == "is_final" else values, kind))
    return pa.table(arrays, names=list(_COLUMNS))


def _apply(cursor: duckdb.DuckDBPyConnection, batch: pa.Table, *, may_be_there: bool) -> None:
    """Put a batch in, in place of the rows' earlier selves."""
    cursor.register("batch", batch)
    if may_be_there:
        cursor.execute("DELETE FROM calls WHERE id IN (SELECT id FROM batch)")
    cursor.execute("INSERT INTO calls SELECT * FROM batch")  # text becomes TIMESTAMP here
    cursor.unregister("batch")
