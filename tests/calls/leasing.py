"""Processes that make many calls, and what their budgets say, for tests of leases."""

import asyncio
import os
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from lib.access.limits import Claim, RateLimits
from lib.access.permissions import OPERATOR
from lib.budgets.budget import CallFacts
from lib.budgets.budgets import Budgets
from lib.db.engine import Store
from lib.db.tables import budget_windows
from lib.ledger.admission import OpeningRequest
from lib.ledger.spool import Spool
from lib.ledger.writer import Ledger
from tests.ledger.ledger_rig import closing, opening
from tests.waiting import CEILING_S

FACTS = CallFacts("scripted", "tests")
WARM = 20  # calls, after which more of the kind are leased for


class Process:
    """One that makes calls; ends its own ways."""

    def __init__(
        self, store: Store, root: Path, name: str, ledger: type[Ledger] = Ledger, *, commits_in_loop: bool = True
    ) -> None:
        self.store, self.name, self.spool = store, name, Spool(root, name)
        self.limits = RateLimits(store)
        self.ledger = ledger(store, self.spool, self.limits, retry_s=0.01, commits_in_loop=commits_in_loop)
        self.leased = 0

    async def open(
        self,
        amount: int | None,
        claim: Claim | None = None,
        facts: CallFacts = FACTS,
        *,
        is_counted_open: bool = False,
        **row: Any,
    ) -> dict[str, Any] | None:
        """The row of a call that may cost `amount`, or None when it is refused."""
        row = opening(self.name, provider=facts.provider, app=facts.app, api_key_id=facts.api_key_id, **row)
        ask = OpeningRequest(row["id"], facts, amount, claim, is_counted_open)
        answer = self.ledger.open_at_once(row, ask)
        self.leased += answer is not None
        answer = answer or await self.ledger.open(row, ask)
        return row if answer.refusal is None else None

    def close(self, row: dict[str, Any], cost: int | None) -> None:
        """It has cost that."""
        ended = closing(row)
        ended.row.cost_nano_usd = cost
        ended.row.cost_status = "unpriced" if cost is None else "priced"
        self.ledger.close(ended)

    async def calls(self, count: int, amount: int, cost: int) -> int:
        """One after the other; how many were let through."""
        passed = 0
        for _ in range(count):
            if (row := await self.open(amount)) is not None:
                self.close(row, cost)
                passed += 1
            await asyncio.sleep(0)
        return passed

    async def warm_up(self, amount: int, cost: int) -> None:
        """So many calls at once that money is held ahead for more."""
        opened = await asyncio.gather(*(self.open(amount) for _ in range(WARM)))
        for row in opened:
            assert row is not None
            self.close(row, cost)

    async def wait_written(self) -> None:
        """Until what was closed is in the database, and what is held ahead is known."""
        ledger = self.ledger
        async with asyncio.timeout(CEILING_S):
            while ledger._closing or ledger._turn or (ledger._flusher and not ledger._flusher.done()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def open_leased(self, amount: int) -> dict[str, Any]:
        """The row of a call that a lease lets through."""
        leased = self.leased
        row = await self.open(amount)
        assert row is not None
        assert self.leased == leased + 1
        return row

    async def stop(self) -> None:
        """As a process that is told to."""
        await self.ledger.drain()
        self.ledger.end()
        self.spool.close()

    def die(self) -> None:
        """As one that is killed: the kernel lets its lock go, and nothing else happens."""
        self.ledger.end()
        os.close(self.spool._lock)


def budget(
    store: Store, limit: int, scope: str = "app", subject: str = "tests", period: str = "month", **more: Any
) -> str:
    made = Budgets(store).create(OPERATOR, scope=scope, subject=subject, period=period, limit_nano=limit, **more)
    return made.budget.id


def figures(store: Store, budget_id: str) -> tuple[int, int]:
    """(spent, held)."""
    with store.read() as connection:
        window = connection.execute(select(budget_windows).where(budget_windows.c.budget_id == budget_id)).one()
    return window.spent_nano_usd, window.held_nano_usd


def rows(store: Store, table: Any) -> int:
    with store.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0
