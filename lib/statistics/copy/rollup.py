"""The days' roll-up: what adds up, per local day and the dimensions asked for most, for each report zone in use; the
times of answers in narrow bins, for exact percentiles; and the unpriced calls that have several rows.

A zone's roll-up covers the rows up to a change number; a question adds the newer ones (`tail`) and the parts of days at
the edges of its range, straight from the rows. Days in which a row changed or left are added up again. Small ledgers
need none: below `LEAST_ROWS` the rows answer as fast.
"""
# ruff: noqa: S608 - names in SQL are those of the enums; values are bound

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb

from lib.statistics.filters import SETS, StatisticsFilter
from lib.statistics.measures import PARTS, UNPRICED_SEVERAL, Axis, Dimension
from lib.statistics.periods import Cycle, PeriodStep, build_local_time_sql, compute_midnight

LEAST_ROWS = 200_000
LONGEST_TAIL = 50_000
_MOST_ZONES = 3
_SLACK = 200_000
COVERED = (
    Dimension.PROVIDER,
    Dimension.MODEL,
    Dimension.APP,
    Dimension.ORIGIN,
    Dimension.STATUS,
    Dimension.ERROR_KIND,
    Dimension.TEAM,
)
SPREAD = (Dimension.PROVIDER, Dimension.MODEL, Dimension.TEAM)  # of these, also the times, bin by bin
TIMES = {
    time: f"{final}{time} IS NOT NULL"
    for time, final in (("execution_time_ms", "is_final AND "), ("first_token_ms", ""))
}
BIN = "CAST(floor(16 * log2(greatest({0}, 0) + 1)) AS USMALLINT)"  # sixteen to each doubling of milliseconds
_MONTH = timedelta(days=30)
_DAYS = (PeriodStep.DAY, PeriodStep.WEEK, PeriodStep.MONTH, Cycle.WEEKDAY)
_NAMES = ", ".join(dimension.column for dimension in COVERED)
TABLES = {
    "daily": ", ".join(
        ["zone VARCHAR", "day DATE", *(f"{d.column} VARCHAR" for d in COVERED), *(f"{part} BIGINT" for part in PARTS)]
    ),
    "spread": "zone VARCHAR, day DATE, provider VARCHAR, model VARCHAR, team_id VARCHAR, timed VARCHAR, bin USMALLINT, "
    "n BIGINT, times INTEGER[], counts INTEGER[]",  # how often each time occurs, a time perhaps several times
    "several": ", ".join(["zone VARCHAR", "day DATE", *(f"{d.column} VARCHAR" for d in COVERED), "call_id UUID"]),
    "rolled": "zone VARCHAR, change_seq BIGINT, compact BIGINT",  # rows of the zone when they were last made compact
}


@dataclass(frozen=True)
class Span:
    """The first and the last moment of which the copy has a row."""

    first: datetime
    last: datetime

    def local_sql(self, zone: ZoneInfo, start: datetime | None = None, end: datetime | None = None) -> str:
        """A row's wall time; over whole days no wider than the rows, so that few changes of the clock stand in it."""
        first = _cut_to_midnight(max(start or self.first, self.first))
        last = _cut_to_midnight(min(end or self.last, self.last)) + timedelta(days=1)
        return build_local_time_sql(zone, first, max(last, first + timedelta(days=1)))


@dataclass(frozen=True)
class Covered:
    """A zone's roll-up holds every row up to a change number."""

    zone: ZoneInfo
    change_seq: int


def can_answer(filters: StatisticsFilter, axes: Collection[Axis], dimensions: Collection[Dimension] = COVERED) -> bool:
    """Whether a roll-up of these dimensions can tell the axes and filters apart."""
    if filters.tags or any(getattr(filters, name) for name, dimension in SETS.items() if dimension not in dimensions):
        return False
    return all(axis in dimensions or axis in _DAYS for axis in axes)


def find_whole_days(filters: StatisticsFilter) -> tuple[date | None, date | None]:
    """The first whole local day of a range and the first that is none of it; None is open."""
    first = last = None
    if filters.start is not None:
        first = filters.start.astimezone(filters.zone).date()
        first += timedelta(days=compute_midnight(first, filters.zone) < filters.start)
    if filters.end is not None:
        last = filters.end.astimezone(filters.zone).date()
    return first, last


def find_rolled_zones(cursor: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """The zones that have a roll-up, and up to which change each."""
    return dict(cursor.execute("SELECT zone, change_seq FROM rolled").fetchall())


def roll(cursor: duckdb.DuckDBPyConnection, zone: ZoneInfo, span: Span, until: int) -> None:
    """Bring a zone's roll-up to a change number; a new zone takes the place of the one least up to date."""
    rolled_zones = find_rolled_zones(cursor)
    after = rolled_zones.get(zone.key, 0)
    if zone.key not in rolled_zones and len(rolled_zones) >= _MOST_ZONES:
        oldest = min(rolled_zones, key=lambda name: rolled_zones[name])
        for table in TABLES:
            cursor.execute(f"DELETE FROM {table} WHERE zone = ?", [oldest])
    if zone.key not in rolled_zones:
        cursor.execute("INSERT INTO rolled VALUES (?, 0, 0)", [zone.key])
    _add(cursor, zone, span, "change_seq > ? AND change_seq <= ?", [after, until])
    cursor.execute("UPDATE rolled SET change_seq = ? WHERE zone = ?", [until, zone.key])
    _compact(cursor, zone)


def mend(cursor: duckdb.DuckDBPyConnection, span: Span, days: Collection[date]) -> None:
    """Add up anew, in every zone, what these UTC days touch."""
    near = sorted({day + timedelta(days=n) for day in days for n in (-1, 0, 1)})
    if not near:
        return
    for name, change_seq in find_rolled_zones(cursor).items():
        zone = ZoneInfo(name)
        marks = ", ".join("?" * len(near))
        for table in ("daily", "spread", "several"):
            cursor.execute(f"DELETE FROM {table} WHERE zone = ? AND day IN ({marks})", [name, *near])
        first, last = (
            compute_midnight(day, zone).replace(tzinfo=None) for day in (near[0], near[-1] + timedelta(days=1))
        )
        condition = f"change_seq <= ? AND started_at >= ? AND started_at < ? AND CAST({{local}} AS DATE) IN ({marks})"
        _add(cursor, zone, span, condition, [change_seq, first, last, *near])


def clear(cursor: duckdb.DuckDBPyConnection) -> None:
    """Delete every zone's roll-up."""
    for table in TABLES:
        cursor.execute(f"DELETE FROM {table}")


def _add(cursor: duckdb.DuckDBPyConnection, zone: ZoneInfo, span: Span, condition: str, values: list[object]) -> None:
    """Add the rows of a condition, a month at a time: the sums of a month fit in little memory."""
    local = span.local_sql(zone)
    rows = f"FROM calls WHERE {condition.format(local=local)}"
    first, last = cursor.execute(f"SELECT min(started_at), max(started_at) {rows}", values).fetchall()[0]
    if first is None:
        return
    key = f"SELECT ? AS zone, CAST({local} AS DATE) AS day"
    month = "AND started_at >= ? AND started_at < ?"
    sums = [f"INSERT INTO daily {key}, {_NAMES}, {', '.join(PARTS.values())} {rows} {month} GROUP BY ALL ORDER BY day"]
    sums += [
        f"INSERT INTO spread SELECT zone, day, provider, model, team_id, '{time}', bin, sum(c), list(t), list(c) FROM ("
        f"{key}, provider, model, team_id, {BIN.format(time)} AS bin, {time} AS t, count(*) AS c "
        f"{rows} AND {is_timed} {month} GROUP BY ALL) GROUP BY ALL ORDER BY bin"
        for time, is_timed in TIMES.items()
    ]
    sums.append(f"INSERT INTO several {key}, {_NAMES}, call_id {rows} AND {UNPRICED_SEVERAL} {month}")
    start = first.replace(hour=0, minute=0, second=0, microsecond=0)
    while start <= last:
        for sql in sums:
            cursor.execute(sql, [zone.key, *values, start, start + _MONTH])
        start += _MONTH


def _compact(cursor: duckdb.DuckDBPyConnection, zone: ZoneInfo) -> None:
    """One row for each combination again, when many were added."""
    sql = "SELECT (SELECT count(*) FROM daily WHERE zone = ?), compact FROM rolled WHERE zone = ?"
    rows, compact = cursor.execute(sql, [zone.key, zone.key]).fetchall()[0]
    if compact and rows <= 2 * compact + _SLACK:
        return
    if compact:
        _fold(cursor, zone, "daily", f"zone, day, {_NAMES}, {', '.join(f'sum({part})' for part in PARTS)}")
        columns = "zone, day, provider, model, team_id, timed, bin, sum(n), flatten(list(times)), flatten(list(counts))"
        _fold(cursor, zone, "spread", columns)
    sql = "UPDATE rolled SET compact = (SELECT count(*) FROM daily WHERE zone = ?) WHERE zone = ?"
    cursor.execute(sql, [zone.key, zone.key])


def _fold(cursor: duckdb.DuckDBPyConnection, zone: ZoneInfo, table: str, columns: str) -> None:
    folded = f"CREATE TEMP TABLE folded AS SELECT {columns} FROM {table} WHERE zone = ? GROUP BY ALL ORDER BY day"
    cursor.execute(folded, [zone.key])
    cursor.execute(f"DELETE FROM {table} WHERE zone = ?", [zone.key])
    cursor.execute(f"INSERT INTO {table} SELECT * FROM folded")
    cursor.execute("DROP TABLE folded")


def _cut_to_midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
