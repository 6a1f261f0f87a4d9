"""The activity log at size: a page, a filter, a search, the choices, an export; each with its limit.

    .venv/bin/python benchmarks/activity.py [--calls 300000]

Prints a table; the exit status is 1 when a limit is passed. SQLite in a temporary folder, sample calls of a year; times
are medians of five. The ratio is to the bare statement that counts the same rows.
"""

import argparse
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.access.permissions import OPERATOR
from lib.activity.call_filter import CUSTOM, ActivityFilter
from lib.activity.call_log import Activity
from lib.db import schema
from lib.db.engine import Store
from lib.demo import Demo

ALL = ActivityFilter(period=CUSTOM)
MONTH = ActivityFilter(period="30d")
PAGE_LIMIT_MS = 300
EXPORT_LIMIT_MB = 50


def median_ms(work: Callable[[], Any]) -> float:
    """Milliseconds, after one run to warm up."""
    work()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def bare_count(store: Store) -> None:
    """What counting all rows costs in this store, without us."""
    with store.read() as connection:
        connection.exec_driver_sql("SELECT count(*), sum(cost_nano_usd) FROM usage_logs WHERE is_final = 1").one()


def measure(store: Store) -> bool:
    """Print the table; whether every limit was kept."""
    activity, kept = Activity(store), True
    pages = activity.page(OPERATOR, ALL).pages
    bare = median_ms(lambda: bare_count(store))
    views: list[tuple[str, Callable[[], Any]]] = [
        ("first page, 24 h", lambda: activity.page(OPERATOR, ActivityFilter())),
        ("first page, 30 days", lambda: activity.page(OPERATOR, MONTH)),
        ("30 days, errors", lambda: activity.page(OPERATOR, ActivityFilter(period="30d", statuses=("error",)))),
        ("30 days, words", lambda: activity.page(OPERATOR, ActivityFilter(period="30d", text="refund"))),
        ("choices of the filters", lambda: activity.options(OPERATOR)),
        ("any time, first page", lambda: activity.page(OPERATOR, ALL)),
        ("any time, middle page", lambda: activity.page(OPERATOR, ALL, pages // 2)),
        ("any time, last page", lambda: activity.page(OPERATOR, ALL, pages)),
    ]
    print(f"{'view':28}{'ms':>10}{'limit':>10}{'x bare count':>14}")
    for name, work in views:
        spent = median_ms(work)
        limit = max(PAGE_LIMIT_MS, 4 * bare) if name.startswith("any time") else PAGE_LIMIT_MS
        kept &= spent <= limit
        print(f"{name:28}{spent:10.1f}{limit:10.0f}{spent / bare:14.2f}")
    return export(activity) and kept


def export(activity: Activity) -> bool:
    """Print how fast everything is exported as CSV, and the most memory it held."""
    began, size, peak = time.perf_counter(), 0, 0
    for piece in activity.export_csv(OPERATOR, ALL):
        size += len(piece)
    spent = time.perf_counter() - began
    tracemalloc.start()
    for number, _ in enumerate(activity.export_csv(OPERATOR, ALL)):
        if number == 50:
            break
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"All as CSV: {size / 1e6:,.0f} MB in {spent:,.1f} s, {peak / 1e6:,.1f} MB held (limit {EXPORT_LIMIT_MB})")
    return peak < EXPORT_LIMIT_MB * 1e6


def main() -> int:
    """Load, measure, clean up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300_000)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/llm_manager.db")
        schema.upgrade(store)
        print(f"{Demo(store).load(OPERATOR, parser.parse_args().calls):,} calls")
        kept = measure(store)
        store.dispose()
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
