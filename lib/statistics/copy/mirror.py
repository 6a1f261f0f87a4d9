"""A columnar copy of the ledger in DuckDB, one per process, that follows `usage_logs` by `change_seq`.

`refresh` asks the ledger's clock first, one row; only when it has moved are the new and changed rows read, in one
snapshot, and put in place of their earlier selves, in batches through Arrow. When the epoch was raised, rows have left:
days with another number of rows than the ledger's are read again. Any other epoch (another ledger) or a clock that has
gone back (an older backup) starts the copy over. The copy is never the record: it may be thrown away at any time.

Values are bound. One connection, a cursor per query, one query at a time: more would only take the processor from the
model calls that share this process.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
from sqlalchemy import Connection, text

from lib.db.engine import Store
from lib.statistics.copy import copy_file, ledger_changes, rollup
from lib.statistics.copy.rollup import Covered, Span
from lib.statistics.cube import Copy

log = logging.getLogger(__name__)

TABLES = {
    "calls": ", ".join(f"{name} {kind}" for name, (kind, _) in ledger_changes.COLUMNS.items()),
    "seen": "epoch BIGINT, change_seq BIGINT",
    **rollup.TABLES,
}
_NEVER = datetime(2000, 1, 1, tzinfo=UTC)
_NULLABLE = {pa.int64(): pd.Int64Dtype(), pa.float64(): pd.Float64Dtype()}.get


@dataclass(frozen=True)
class Version:
    """What the copy has seen: the ledger's epoch and its last change."""

    epoch: int
    change_seq: int


_NOTHING = Version(-1, 0)
_MOST_RAISED = 10_000


class Mirror:
    """The copy of one store, in a file of `folder`, or in memory without one. Thread-safe."""

    def __init__(self, store: Store, folder: Path | None = None) -> None:
        self._store = store
        self._lock = threading.RLock()
        pa.set_memory_pool(pa.system_memory_pool())  # the others keep what they once took
        self._file = copy_file.claim(folder, TABLES) if folder else None
        self._open()

    def _open(self) -> None:
        self._connection = self._file.connection if self._file else copy_file.open_in_memory(TABLES)
        last_version = self._connection.execute("SELECT epoch, change_seq FROM seen").fetchone()
        self._version = Version(*last_version) if last_version else _NOTHING
        self._extent: tuple[Version, int, Span] | None = None  # as of a version

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

    @contextmanager
    def asking(self) -> Iterator[tuple[Version, duckdb.DuckDBPyConnection]]:
        """A cursor on the copy as of now, which stands still for as long as it is used."""
        with self._lock:
            version = self.refresh()
            with self._cursor() as cursor:
                yield version, cursor

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query as Python values: exact integers, None for unknown."""
        with self._lock, self._cursor() as cursor:
            result: list[tuple[Any, ...]] = cursor.execute(sql, list(parameters)).fetchall()
            return result

    def copy(self, zone: ZoneInfo | None) -> Copy:
        """Describe what the copy holds: the span of its rows, and a zone's roll-up where the ledger is large enough.

        A zone's roll-up is made at its first question; without a zone, any existing one is named.
        """
        with self._lock, self._cursor() as cursor:
            if self._extent is None or self._extent[0] != self._version:
                self._extent = (self._version, *_find_extent(cursor))
            _, rows, span = self._extent
            if rows < rollup.LEAST_ROWS:
                return Copy(span)
            rolled_zones = rollup.find_rolled_zones(cursor)
            now = self._version.change_seq
            if zone is None:
                name = max(rolled_zones, key=lambda name: rolled_zones[name], default=None)
                return Copy(span, Covered(ZoneInfo(name), rolled_zones[name]) if name else None)
            if zone.key not in rolled_zones or now - rolled_zones[zone.key] > rollup.LONGEST_TAIL:
                cursor.begin()
                try:
                    rollup.roll(cursor, zone, span, now)
                    cursor.commit()
                except BaseException:
                    cursor.rollback()
                    raise
                rolled_zones[zone.key] = now
            return Copy(span, Covered(zone, rolled_zones[zone.key]))

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
        raised = now.epoch - self._version.epoch  # by one each time that rows have left; any other is another ledger
        start_over = (
            self._version == _NOTHING or not 0 <= raised < _MOST_RAISED or now.change_seq < self._version.change_seq
        )
        is_sqlite = self._store.is_sqlite
        after = 0 if start_over else self._version.change_seq
        with self._cursor() as cursor:
            cursor.begin()
            try:
                if start_over:
                    cursor.execute("DELETE FROM calls")
                    rollup.clear(cursor)
                new = ledger_changes.iterate_changes(connection, is_sqlite, after, now.change_seq)
                changed = _put(cursor, new, may_be_there=not start_over)
                if raised and not start_over:
                    changed |= self._drop(connection, cursor, now.change_seq)
                rollup.mend(cursor, _find_extent(cursor)[1], changed)
                cursor.execute("DELETE FROM seen")
                cursor.execute("INSERT INTO seen VALUES (?, ?)", [now.epoch, now.change_seq])
                cursor.commit()
            except BaseException:
                cursor.rollback()
                raise
            if start_over and now.change_seq:
                cursor.execute("CHECKPOINT")  # compresses
        self._version = now

    def _drop(self, connection: Connection, cursor: duckdb.DuckDBPyConnection, until: int) -> set[date]:
        """Let go of rows that have left the ledger: days with another number of rows are read again."""
        ledger_counts = ledger_changes.count_by_day(connection, self._store.is_sqlite, until)
        copy_counts = cursor.execute("SELECT CAST(started_at AS DATE), count(*) FROM calls GROUP BY 1").fetchall()
        days = {day for day, number in copy_counts if ledger_counts.get(day) != number}
        for day in days:
            cursor.execute("DELETE FROM calls WHERE started_at >= ? AND started_at < ?", [day, day + timedelta(days=1)])
            if day in ledger_counts:
                _put(
                    cursor,
                    ledger_changes.iterate_day(connection, self._store.is_sqlite, day, until),
                    may_be_there=False,
                )
        return days


def load_frame(cursor: duckdb.DuckDBPyConnection, sql: str, values: Sequence[Any]) -> pd.DataFrame:
    """The rows of a query, values bound; integers stay integers, missing ones `<NA>`."""
    answer = cursor.sql(sql, params=list(values)).to_arrow_table()
    frame: pd.DataFrame = answer.to_pandas(types_mapper=_NULLABLE)
    return frame


def _put(cursor: duckdb.DuckDBPyConnection, batches: Iterator[bytes], *, may_be_there: bool) -> set[date]:
    """Put batches of lines in, each while the next is read; the days (UTC) on which rows changed."""
    days = set[date]()
    waiting = deque[Future[set[date]]]()
    with ThreadPoolExecutor(1) as pool:
        for lines in batches:
            waiting.append(pool.submit(_apply, cursor, lines, may_be_there=may_be_there))
            if len(waiting) > 2:
                days |= waiting.popleft().result()
        return days.union(*(future.result() for future in waiting))


def _apply(cursor: duckdb.DuckDBPyConnection, lines: bytes, *, may_be_there: bool) -> set[date]:
    """Put a batch of lines in, in place of the rows' earlier selves; the days (UTC) on which there were any."""
    cursor.register("batch", ledger_changes.parse_csv(lines))
    days = set[date]()
    if may_be_there:
        cursor.execute("SELECT min(CAST(started_at AS TIMESTAMP)), max(CAST(started_at AS TIMESTAMP)) FROM batch")
        there = "started_at BETWEEN ? AND ? AND id IN (SELECT CAST(id AS UUID) FROM batch)"  # the range alone prunes
        borders = list(cursor.fetchall()[0])
        sql = f"SELECT DISTINCT CAST(started_at AS DATE) FROM calls WHERE {there}"  # noqa: S608 - our names
        if days := {day for (day,) in cursor.execute(sql, borders).fetchall()}:
            cursor.execute(f"DELETE FROM calls WHERE {there}", borders)  # noqa: S608
    cursor.execute("INSERT INTO calls SELECT * FROM batch")  # text becomes TIMESTAMP here
    cursor.unregister("batch")
    return days


def _find_extent(cursor: duckdb.DuckDBPyConnection) -> tuple[int, Span]:
    """How many rows there are, and from when to when."""
    rows, *ends = cursor.execute("SELECT count(*), min(started_at), max(started_at) FROM calls").fetchall()[0]
    first, last = (moment.replace(tzinfo=UTC) if moment else _NEVER for moment in ends)
    return rows, Span(first, last)
