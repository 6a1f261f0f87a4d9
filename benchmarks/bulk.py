"""Many rows at once: the sample year and an import, against sqlite3's executemany of the same rows.

    .venv/bin/python benchmarks/bulk.py [--calls 300000] [--rows 1000000]

Prints a table; the exit status is 1 when a limit is passed. SQLite in a temporary folder with every index, one thread.
The bare rows are inserted as sqlite3 does it by itself (5,000 a transaction, its own checkpoints), and once more with
the store's settings. The import is a LiteLLM table of `--rows` rows as CSV. Seconds of processor time are told beside
those on the clock: on a machine that others use they are the steadier figure.
"""

import argparse
import random
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.access.permissions import OPERATOR
from lib.clock import utc_now
from lib.db import schema
from lib.db.engine import Store
from lib.demo import Demo
from lib.demo.year import draw_blocks
from lib.imports import Imports, UsageFile
from lib.providers.prices.price_book import PriceBook

DEMO_ROWS_A_SECOND, IMPORT_S, IMPORT_MB = 100_000, 60, 200
HEAD = (
    "request_id,call_type,api_key,spend,total_tokens,prompt_tokens,completion_tokens,startTime,endTime,"
    "completionStartTime,model,custom_llm_provider,user,metadata,cache_hit,request_tags,team_id,end_user,status\n"
)
MODELS = (("gpt-4o-mini", "openai"), ("claude-sonnet-4-5", "anthropic"), ("gemini-2.5-flash", "gemini"))
METADATA = '"{""usage_object"": {""prompt_tokens_details"": {""cached_tokens"": 128}}}"'


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def a_store(folder: Path) -> Store:
    """An empty, migrated store."""
    store = Store(f"sqlite:///{folder / 'llm_manager.db'}")
    schema.upgrade(store)
    return store


def bare(folder: Path, calls: int, prices: PriceBook, *, folds_after: int) -> tuple[int, float, float]:
    """How many rows, and the seconds in which sqlite3 alone inserts those of the sample year."""
    a_store(folder).dispose()
    made = [list(zip(*block.values(), strict=True)) for block in draw_blocks(calls, 7, utc_now(), prices)]
    names = list(next(draw_blocks(1, 7, utc_now(), prices)))
    number, sql = (
        0,
        f"INSERT INTO usage_logs ({', '.join(names)}, change_seq) VALUES ({', '.join('?' * len(names))}, ?)",
    )
    batches = []
    for rows in made:
        batches.append([(*row, number + n) for n, row in enumerate(rows)])
        number += len(rows)
    connection = sqlite3.connect(folder / "llm_manager.db", isolation_level=None)
    for pragma in ("synchronous=NORMAL", f"wal_autocheckpoint={folds_after}"):
        connection.execute(f"PRAGMA {pragma}")

    def insert() -> None:
        for batch in batches:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(sql, batch)
            connection.execute("COMMIT")

    seconds = timed(insert)
    connection.close()
    return number, *seconds


def spend_logs(path: Path, rows: int) -> None:
    """A LiteLLM table."""
    dice, moment = random.Random(1), datetime(2025, 11, 1)
    with path.open("w") as file:
        file.write(HEAD)
        for _ in range(rows):
            moment += timedelta(seconds=25 * dice.random())
            prompt, answer = dice.randint(10, 4000), dice.randint(1, 900)
            model, provider = dice.choice(MODELS)
            cost = (prompt * 0.15 + answer * 0.6) / 1e6
            ended, first = (moment + timedelta(milliseconds=ms) for ms in (dice.randint(500, 4000), 300))
            file.write(
                f"chatcmpl-{dice.getrandbits(96):024x},acompletion,88dc28d0f030c55ed4ab77ed8faf098196cb1c05,{cost:.9f},"
                f"{prompt + answer},{prompt},{answer},{moment},{ended},"
                f"{first},{model},{provider},user-{dice.randint(1, 40)},{METADATA},False,[],"
                f"team-{dice.randint(1, 9)},,success\n"
            )


def peak_mb() -> float:
    """The most memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--calls", type=int, default=300_000)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    given = arguments.parse_args()
    prices = PriceBook()
    prices.warm()
    lines = list[tuple[str, str, str, bool]]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spend_logs(folder / "spend.csv", given.rows)
        store, before = a_store(folder), peak_mb()
        imports, found = Imports(store, prices), list[str]()
        with (folder / "spend.csv").open("rb") as file:
            source = UsageFile(file, "spend.csv")
            clock, processor = timed(lambda: found.append(imports.run(OPERATOR, source).id))
        grown = peak_mb() - before
        undone, _ = timed(lambda: imports.undo(OPERATOR, found[0]))
        store.dispose()
    lines += [
        (f"import of {given.rows:,} rows, s", f"{clock:.1f}", f"≤ {IMPORT_S}", clock <= IMPORT_S),
        ("… of the processor, s", f"{processor:.1f}", "", True),
        ("… memory above idle, MB", f"{grown:.0f}", f"≤ {IMPORT_MB}", grown <= IMPORT_MB),
        ("… undone, s", f"{undone:.1f}", "", True),
    ]
    with tempfile.TemporaryDirectory() as name:
        rows, by_itself, _ = bare(Path(name), given.calls, prices, folds_after=1_000)
    with tempfile.TemporaryDirectory() as name:
        _, tuned, tuned_processor = bare(Path(name), given.calls, prices, folds_after=20_000)
    drawn, _ = timed(lambda: sum(len(b["id"]) for b in draw_blocks(given.calls, 7, utc_now(), prices)))
    with tempfile.TemporaryDirectory() as name:
        store = a_store(Path(name))
        loaded, loaded_processor = timed(lambda: Demo(store, prices).load(OPERATOR, given.calls))
        store.dispose()
    speed = rows / loaded
    lines += [
        (
            "sample rows drawn and written a second",
            f"{speed:,.0f}",
            f"≥ {DEMO_ROWS_A_SECOND:,}",
            speed >= DEMO_ROWS_A_SECOND,
        ),
        ("… a second of the processor", f"{rows / loaded_processor:,.0f}", "", True),
        ("… drawn only", f"{rows / drawn:,.0f}", "", True),
        ("… bare sqlite3, rows ready", f"{rows / by_itself:,.0f}", "", True),
        ("… bare sqlite3 with the store's checkpoints", f"{rows / tuned:,.0f}", "", True),
        ("… a second of the processor", f"{rows / tuned_processor:,.0f}", "", True),
        ("ratio to bare sqlite3, on the clock", f"{by_itself / loaded:.2f}", "", True),
        ("ratio to the same checkpoints, processor", f"{tuned_processor / loaded_processor:.2f}", "", True),
    ]
    print(f"{'what':46} {'measured':>12} {'limit':>10}")
    for what, measured, limit, kept in lines:
        print(f"{what:46} {measured:>12} {limit:>10}{'' if kept else '  MISSED'}")
    return 0 if all(kept for *_, kept in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
