"""A process that spends: `python spender.py URL CALLS AMOUNT`; prints how many calls were let through."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lib.budgets.budget import CallFacts
from lib.budgets.holds import reserve, settle
from lib.budgets.refusal import BudgetRefusal
from lib.clock import make_id, utc_now
from lib.db.engine import Store


def spend(store: Store, calls: int, amount: int) -> int:
    """Reserve and settle in transactions of their own; every third call costs a little less than was held."""
    passed = 0
    for number in range(calls):
        log_id = make_id()
        with store.write() as connection:
            answer = reserve(connection, CallFacts("openai", "tests"), log_id, amount, utc_now())
        if isinstance(answer, BudgetRefusal):
            continue
        passed += 1
        with store.write() as connection:
            settle(connection, log_id, amount - (number % 3 == 0), utc_now())
    return passed


if __name__ == "__main__":
    opened = Store(sys.argv[1])
    print(spend(opened, int(sys.argv[2]), int(sys.argv[3])))
    opened.dispose()
