"""However many calls come at once, from however many processes: spent and held never pass a hard limit."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select

from lib.access.permissions import OPERATOR
from lib.budgets.holds import Want, reserve_many, settle_many
from lib.budgets.refusal import BudgetRefusal
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import budget_holds, budget_windows
from tests.budgets.budget_rig import DOLLAR, FACTS, Rig
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("COST-2")
SPENDER = Path(__file__).with_name("spender.py")


def totals(store: Store) -> tuple[int, int, int]:
    """(spent, held) of the one window, and how many holds are left."""
    with store.read() as connection:
        window = connection.execute(select(budget_windows)).one()
        left = connection.scalar(select(func.count()).select_from(budget_holds)) or 0
    return window.spent_nano_usd, window.held_nano_usd, left


def test_a_hundred_calls_at_once_on_one_budget(store: Store) -> None:
    budget = Rig(store).budget(limit=30 * DOLLAR, now=utc_now())
    highest: list[int] = []

    def one(_: int) -> bool:
        log_id = make_id()
        with store.write() as connection:
            answer = reserve_many(connection, [Want(log_id, FACTS, DOLLAR)], utc_now())[0]
        if isinstance(answer, BudgetRefusal):
            return False
        now = Rig(store).budgets.get(OPERATOR, budget.budget.id).now
        highest.append(now.spent_nano + now.held_nano)
        with store.write() as connection:
            settle_many(connection, {log_id: DOLLAR}, utc_now())
        return True

    with ThreadPoolExecutor(100) as pool:
        passed = sum(pool.map(one, range(100)))
    assert passed == 30
    assert max(highest) <= 30 * DOLLAR
    assert totals(store) == (30 * DOLLAR, 0, 0)


def test_four_processes_on_one_budget(store: Store) -> None:
    rig = Rig(store)
    rig.budget(limit=100 * DOLLAR, now=utc_now())
    rig.budget(limit=1000 * DOLLAR, scope="global", subject="", period="day", is_hard=False, now=utc_now())
    command = [sys.executable, str(SPENDER), store.url.render_as_string(hide_password=False), "60", str(DOLLAR)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    passed = sum(int(process.communicate(timeout=CEILING_S)[0]) for process in running)
    assert all(process.returncode == 0 for process in running)
    with store.read() as connection:
        windows = connection.execute(select(budget_windows).order_by(budget_windows.c.limit_nano_usd)).all()
        assert connection.scalar(select(func.count()).select_from(budget_holds)) == 0
    narrow, wide = windows
    assert narrow.spent_nano_usd <= 100 * DOLLAR
    assert narrow.spent_nano_usd > 99 * DOLLAR - 100  # no more was refused than had to be
    assert passed == 100
    assert wide.spent_nano_usd == narrow.spent_nano_usd
    assert (narrow.held_nano_usd, wide.held_nano_usd) == (0, 0)
