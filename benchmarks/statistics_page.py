"""The statistics: loading sample data, following the ledger, the page's questions first and again.

    .venv/bin/python benchmarks/statistics_page.py [--calls 100000]

Prints a table with limits where there are any; the exit status is 1 when one is passed. Each question is also asked of
a bare DuckDB with the same rows, for the ratio. A busy machine makes every time longer.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import psutil
from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.access.permissions import OPERATOR
from lib.calls.closing import take_sequence
from lib.clock import new_id, utc_now
from lib.db import schema
from lib.db.engine import Store
from lib.db.tables import usage_logs
from lib.demo import Demo
from lib.statistics.filters import Dimension, Measure
from lib.statistics.periods import Period
from lib.statistics.queries import Statistics
from lib.ui.statistics_view import StatisticsView

ZONE = ZoneInfo("Europe/Berlin")


def timed(function: Callable[[], Any], times: int = 1) -> float:
    """Median milliseconds."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        taken.append((time.perf_counter() - start) * 1000)
    return median(taken)


def questions(ask: Statistics, period: Period) -> None:
    """Everything that one drawing of the page asks."""
    view = StatisticsView(period=period)
    found = view.range(ZONE, utc_now())
    where = view.filter(found.start, found.end, ZONE)
    step = view.step_in(found)
    ask.newest(OPERATOR)
    for dimension in (Dimension.PROVIDER, Dimension.MODEL, Dimension.APP, Dimension.USER):
        ask.choices(OPERATOR, dimension)
    ask.totals(OPERATOR, where)
    ask.totals(OPERATOR, replace(where, start=found.previous_start, end=found.previous_end))
    ask.trend(OPERATOR, where, step)
    ask.over_time(OPERATOR, where, step, Measure.COST, [Dimension.PROVIDER])
    ask.top_models(OPERATOR, where, Measure.COST)
    ask.cross_tab(OPERATOR, where, Dimension.PROVIDER, Dimension.APP, Measure.COST)
    ask.by_model(OPERATOR, where)


def append(store: Store, count: int) -> None:
    """Copies of the newest rows, as so many calls that have just ended."""
    with store.write() as connection:
        newest = connection.execute(
            usage_logs.select().order_by(usage_logs.c.change_seq.desc()).limit(count)
        ).mappings()
        rows = [dict(row, id=new_id(), batch_id=None) for row in newest]
        first = take_sequence(connection, len(rows))
        connection.execute(usage_logs.insert(), [row | {"change_seq": first + n} for n, row in enumerate(rows)])


def main() -> int:
    """Measure and print; 1 when a limit is passed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=100_000)
    calls = parser.parse_args().calls
    lines: list[tuple[str, float, str, float | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/bench.db")
        schema.upgrade(store)
        lines.append((f"load {calls:,} sample calls", timed(lambda: Demo(store).load(OPERATOR, calls)), "ms", 60_000))
        ask, process = Statistics(store), psutil.Process()
        before = process.memory_info().rss
        first = timed(lambda: ask.refresh())
        with store.read() as connection:
            rows = connection.execute(text("SELECT count(*) FROM usage_logs")).scalar_one()
        lines.append(("first copy", first, "ms", None))
        lines.append(("first copy, rows a second", rows / first * 1000, "", None))
        lines.append(("memory of the copy", (process.memory_info().rss - before) / 2**20, "MB", 500))
        lines.append(("refresh, nothing new", timed(ask.refresh, 20), "ms", 5))
        append(store, 1000)
        lines.append(("refresh, 1,000 new calls", timed(ask.refresh), "ms", 1000))
        for period in (Period.DAYS_30, Period.YEAR):
            append(store, 1)  # forget the answers
            lines.append(
                (f"the page's questions, {period}, first", timed(lambda p=period: questions(ask, p)), "ms", 500)
            )
            lines.append(
                (f"the page's questions, {period}, again", timed(lambda p=period: questions(ask, p), 5), "ms", 100)
            )
        lines += bare(ask)
        store.dispose()
    passed = True
    for name, value, unit, limit in lines:
        within = limit is None or value <= limit
        passed &= within
        bound = "" if limit is None else f"limit {limit:,.0f} {unit}{'' if within else '  PASSED'}"
        print(f"{name:44} {value:12,.1f} {unit:3} {bound}")
    return 0 if passed else 1


def bare(ask: Statistics) -> list[tuple[str, float, str, float | None]]:
    """Cost by model asked of a bare DuckDB with the same rows, and our ratio to it."""
    table = ask._mirror._connection.cursor().sql("SELECT * FROM calls").to_arrow_table()
    connection = duckdb.connect(config={"threads": 1})
    connection.register("rows", table)
    connection.execute("CREATE TABLE calls AS SELECT * FROM rows")
    sql = "SELECT provider, model, sum(cost_nano_usd), count(*) FROM calls GROUP BY ALL"
    alone = timed(lambda: connection.execute(sql).fetchall(), 15)

    def ours() -> None:
        ask._answers.clear()
        ask.top_models(OPERATOR, StatisticsView().filter(None, None, ZONE), Measure.COST)  # type: ignore[arg-type]

    mine = timed(ours, 15)
    return [("cost by model, bare DuckDB", alone, "ms", None), ("cost by model, here", mine, "ms", None)]


if __name__ == "__main__":
    sys.exit(main())
