"""What budgets add to a call: reserving and settling in the ledger's own transactions, in batches of 1, 16 and 64.

    .venv/bin/python benchmarks/budgets.py [--seconds 1]

Prints microseconds of CPU time a call on SQLite, against the same two transactions that only insert and delete a row of
`budget_holds`; the exit status is 1 when a limit is passed. `of 1,000` has that many budgets, of which three apply.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sqlalchemy import delete, insert

from lib.access.permissions import OPERATOR
from lib.budgets.budget import CallFacts
from lib.budgets.budgets import Budgets
from lib.budgets.holds import Want, reserve_many, settle_many
from lib.clock import make_id, utc_now
from lib.db import schema
from lib.db.engine import Store
from lib.db.tables import api_keys, budget_holds
from lib.money import NANO_PER_USD

BATCHES = (1, 16, 64)
LIMIT_US = {1: 1500, 16: 250, 64: 150}  # a call, with three budgets
FACTS = CallFacts("openai", "app-0", None, "user-1", "key-1")


def bare(store: Store, size: int) -> None:
    """The two transactions without budgets: insert rows, delete them."""
    now, ids = utc_now(), [make_id() for _ in range(size)]
    row = {"budget_id": "none", "starts_at": now, "amount_nano_usd": 0, "expires_at": now}
    with store.write() as connection:
        connection.execute(insert(budget_holds), [row | {"log_id": log_id} for log_id in ids])
    with store.write() as connection:
        connection.execute(delete(budget_holds).where(budget_holds.c.log_id.in_(ids)))


def budgeted(store: Store, size: int) -> None:
    """Reserve for a batch, settle it."""
    now, wants = utc_now(), [Want(make_id(), FACTS, 1000) for _ in range(size)]
    with store.write() as connection:
        reserve_many(connection, wants, now)
    with store.write() as connection:
        settle_many(connection, {want.log_id: 900 for want in wants}, now)


def microseconds_a_call(work: object, store: Store, size: int, seconds: float) -> float:
    """The median CPU time over batches for about `seconds`: what else the machine does is no cost of budgets."""
    times: list[float] = []
    work(store, size)  # type: ignore[operator]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.thread_time()
        work(store, size)  # type: ignore[operator]
        times.append(time.thread_time() - began)
    return statistics.median(times) * 1e6 / size


def measure(folder: Path, seconds: float) -> bool:
    """Print the table; whether every limit was kept."""
    store = Store(f"sqlite:///{folder / 'bench.db'}")
    schema.upgrade(store)
    budgets, kept = Budgets(store), True
    key = {"id": FACTS.api_key_id, "name": "bench", "prefix": "llmm_1234567", "hash": "-", "app": FACTS.app}
    with store.write() as connection:  # a budget is only made of a key that there is
        connection.execute(insert(api_keys).values(**key, scopes={}, created_by="bench", created_at=utc_now()))
    base = {size: microseconds_a_call(bare, store, size, seconds) for size in BATCHES}
    print(f"{'us a call, in batches of':28}" + "".join(f"{size:>10}" for size in BATCHES))
    print(f"{'two bare transactions':28}" + "".join(f"{base[size]:>10.0f}" for size in BATCHES))
    limit = 10_000 * NANO_PER_USD
    makings = {
        "no budget": [],
        "1 applies": [("global", "")],
        "3 apply": [("app", "app-0"), ("key", "key-1")],
        "3 apply of 1,000": [("app", f"app-{number}") for number in range(1, 998)],
    }
    for name, more in makings.items():
        for scope, subject in more:
            budgets.create(OPERATOR, scope=scope, subject=subject, period="month", limit_nano=limit)
        found = {size: microseconds_a_call(budgeted, store, size, seconds) for size in BATCHES}
        kept &= all(found[size] <= LIMIT_US[size] for size in BATCHES)
        print(f"{name:28}" + "".join(f"{found[size]:>10.0f}" for size in BATCHES))
    print(f"{'limit':28}" + "".join(f"{LIMIT_US[size]:>10}" for size in BATCHES))
    store.dispose()
    return kept


def main() -> int:
    """Measure in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each figure is measured")
    with tempfile.TemporaryDirectory() as folder:
        return 0 if measure(Path(folder), parser.parse_args().seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
