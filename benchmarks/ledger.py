"""The ledger's writes: calls opened and closed a second, what a kill -9 loses, how fast an open circuit answers.

    .venv/bin/python benchmarks/ledger.py [--calls 20000]

Prints a table; the exit status is 1 when a limit is passed. SQLite in a temporary folder, one process, 256 calls in
flight, an answer of 800 characters each; medians of three. The ratio is to the same rows written with bare sqlite3 in
batches of 256, in the same run.
"""

import argparse
import asyncio
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from msgspec.structs import asdict
from sqlalchemy import select

from lib import services as service_root
from lib.access.limits import RateLimits
from lib.access.permissions import OPERATOR
from lib.budgets.budget import CallFacts
from lib.calls.request import CallRequest
from lib.clock import make_id, utc_now
from lib.db import schema
from lib.db.engine import Store
from lib.db.tables import usage_logs
from lib.ledger.admission import OpeningRequest
from lib.ledger.closing import Closing
from lib.ledger.recovery import recover
from lib.ledger.spool import Spool
from lib.ledger.usage_row import AttemptRow, UsageRow
from lib.ledger.writer import Ledger
from lib.providers.prices.price_book import PriceBook
from lib.settings import Settings

IN_FLIGHT = 256
CALLS_A_SECOND = 5_000
REFUSAL_MS = 50
ANSWER = "Every call is a row. " * 38
MESSAGES = [{"role": "user", "content": "What is a ledger, in some words? " * 12}]


def a_call(owner: str) -> tuple[dict[str, Any], Closing]:
    """The opening row of a call and its end."""
    attempt = AttemptRow(
        id=make_id(), call_id=make_id(), attempt=1, started_at=utc_now(), app="bench", origin="gateway",
        provider="openai", model="gpt-4.1-mini", streamed=True, parameters={"temperature": 0.7}, tags={},
    )  # fmt: skip
    opening = asdict(attempt) | {"owner": owner, "holds": [], "request": MESSAGES}
    row = UsageRow(
        **asdict(attempt), is_final=True, finished_at=utc_now(), status="ok", prompt_tokens=90, completion_tokens=190,
        total_tokens=280, usage_source="provider", cost_nano_usd=340_000, cost_status="priced", execution_time_ms=900,
        first_token_ms=200, chunks=40, finish_reason="stop",
    )  # fmt: skip
    payload = {"prompt_text": MESSAGES[0]["content"], "response_text": ANSWER, "request": MESSAGES, "response": {}}
    return opening, Closing(row, payload)


async def run(ledger: Ledger, calls: list[tuple[dict[str, Any], Closing]], ended: Callable[[str], None]) -> None:
    """Open and close every call, so many at once, and wait until all is in the database."""
    left = iter(calls)

    async def one_after_another() -> None:
        for opening, closing in left:
            await ledger.open(opening, OpeningRequest(opening["id"], CallFacts(opening["provider"], opening["app"]), 0))
            ledger.close(closing)
            ended(opening["id"])

    await asyncio.gather(*(one_after_another() for _ in range(IN_FLIGHT)))
    await ledger.drain()


def ours(folder: Path, count: int) -> float:
    """Calls a second through the ledger: both rows, the spool and the payload."""
    store, spool = _store(folder), Spool(folder / "spool", "bench")
    calls = [a_call("bench") for _ in range(count)]
    began = time.perf_counter()
    asyncio.run(run(Ledger(store, spool, RateLimits(store)), calls, lambda log_id: None))
    seconds = time.perf_counter() - began
    spool.close()
    store.dispose()
    return count / seconds


def bare(folder: Path, count: int) -> float:
    """Calls a second when sqlite3 writes the same rows: insert, insert and delete in two transactions a batch."""
    import json

    _store(folder).dispose()
    connection = sqlite3.connect(folder / "llm_manager.db", isolation_level=None)
    connection.execute("PRAGMA synchronous=NORMAL")
    calls = [a_call("bench") for _ in range(count)]

    def insert(table: str, rows: list[dict[str, Any]]) -> None:
        names = list(rows[0])
        values = [[json.dumps(v) if isinstance(v, dict | list) else v for v in row.values()] for row in rows]
        marks = ", ".join("?" * len(names))
        connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", values)

    sqlite3.register_adapter(type(utc_now()), lambda moment: moment.isoformat(" "))
    began = time.perf_counter()
    for start in range(0, count, IN_FLIGHT):
        batch = calls[start : start + IN_FLIGHT]
        connection.execute("BEGIN IMMEDIATE")
        insert("open_calls", [opening for opening, _ in batch])
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        insert(
            "usage_logs", [closing.row.to_columns() | {"change_seq": start + n} for n, (_, closing) in enumerate(batch)]
        )
        insert("usage_payloads", [{"id": closing.row.id, **closing.payload} for _, closing in batch])
        connection.executemany("DELETE FROM open_calls WHERE id = ?", [(opening["id"],) for opening, _ in batch])
        connection.execute("COMMIT")
    seconds = time.perf_counter() - began
    connection.close()
    return count / seconds


def lost_at_kill(folder: Path, wanted: int) -> tuple[int, int]:
    """Kill a process that writes calls: how many it had acknowledged, and how many of these are gone."""
    command = [sys.executable, __file__, "--write-until-killed", str(folder)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    acknowledged = [child.stdout.readline().strip() for _ in range(wanted)]
    os.kill(child.pid, signal.SIGKILL)
    acknowledged += [line.strip() for line in child.stdout.read().splitlines() if len(line.strip()) == 36]
    child.wait()
    store = _store(folder)
    recover(store, folder / "spool", PriceBook([]))
    with store.read() as connection:
        there = set(connection.scalars(select(usage_logs.c.id).where(usage_logs.c.status == "ok")))
    store.dispose()
    return len(acknowledged), len(set(acknowledged) - there)


def write_until_killed(folder: Path) -> None:
    """The child: say the id of every call whose end `close` has taken."""
    calls = [a_call("bench") for _ in range(100_000)]
    store = _store(folder)
    ledger = Ledger(store, Spool(folder / "spool", "bench"), RateLimits(store))
    asyncio.run(run(ledger, calls, lambda log_id: os.write(1, f"{log_id}\n".encode())))  # type: ignore[arg-type,return-value]


def refusals_ms(folder: Path) -> list[float]:
    """Milliseconds from asking to a refused call's row, with its circuit open."""
    services = service_root.build(Settings(folder, f"sqlite:///{folder / 'llm_manager.db'}"))
    try:
        services.providers.create(OPERATOR, name="failing", kind="scripted")
        services.configurations.create(OPERATOR, slug="x", app="bench", provider="failing", model="error:500")
        ask = CallRequest(OPERATOR, MESSAGES, configuration="x", max_attempts=1)
        while services.calls.run(ask).status != "refused":
            threading.Event().wait(0)
        times = []
        for _ in range(100):
            began = time.perf_counter()
            services.calls.run(ask)
            times.append((time.perf_counter() - began) * 1000)
        return times
    finally:
        services.close()


def _store(folder: Path) -> Store:
    store = Store(f"sqlite:///{folder / 'llm_manager.db'}")
    schema.upgrade(store)
    return store


def in_folder(work: Callable[[Path], Any]) -> Any:
    """Do something in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return work(Path(folder))


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--calls", type=int, default=20_000)
    arguments.add_argument("--write-until-killed", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.write_until_killed:
        write_until_killed(given.write_until_killed)
        return 0
    pairs = [
        (in_folder(lambda folder: ours(folder, given.calls)), in_folder(lambda folder: bare(folder, given.calls)))
        for _ in range(3)
    ]
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    acknowledged, lost = in_folder(lambda folder: lost_at_kill(folder, 2_000))
    times = in_folder(refusals_ms)
    slowest = statistics.quantiles(times, n=100)[94]
    rows = [
        ("calls opened and closed a second", f"{mine:,.0f}", f"≥ {CALLS_A_SECOND:,}", mine >= CALLS_A_SECOND),
        ("the same rows with bare sqlite3", f"{theirs:,.0f}", "", True),
        ("ratio to bare sqlite3", f"{mine / theirs:.2f}", "", True),
        (f"lost of {acknowledged:,} acknowledged at kill -9", str(lost), "0", lost == 0),
        ("refused by an open circuit, median ms", f"{statistics.median(times):.1f}", "", True),
        ("refused by an open circuit, p95 ms", f"{slowest:.1f}", f"≤ {REFUSAL_MS}", slowest <= REFUSAL_MS),
    ]
    print(f"{'what':46} {'measured':>10} {'limit':>8}")
    for what, measured, limit, kept in rows:
        print(f"{what:46} {measured:>10} {limit:>8}{'' if kept else '  MISSED'}")
    return 0 if all(kept for *_, kept in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
