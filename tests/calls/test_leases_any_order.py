"""Whatever two processes do in whatever order, with budgets that come and go and processes that die: the sums agree."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.access.permissions import OPERATOR
from lib.budgets.budget import CallFacts
from lib.budgets.budgets import Budgets
from lib.db import schema
from lib.db.engine import Store
from lib.db.tables import budget_holds, open_calls, usage_logs
from lib.ledger import recovery
from lib.providers.prices.price_book import PriceBook
from tests.calls.leasing import FACTS, Process, budget, figures, rows
from tests.counts import repeats

pytestmark = [pytest.mark.feature("COST-2"), pytest.mark.feature("CALL-4")]
LIMIT = 3_000
KINDS = (FACTS, CallFacts("scripted", "other"), CallFacts("openai", "tests"))
one_process = st.integers(0, 1)
steps = st.lists(
    st.tuples(
        st.just("open"),
        st.tuples(one_process, st.sampled_from(KINDS)),
        st.integers(1, 40) | st.just(0) | st.none(),
        st.integers(1, 25),
    )
    | st.tuples(st.just("close"), st.integers(0, 1_000), st.integers(0, 100), st.integers(1, 25))
    | st.tuples(st.sampled_from(["drain", "die", "look"]), one_process, st.none(), st.just(1))
    | st.tuples(st.sampled_from(["rest", "begin", "delete", "count again"]), st.none(), st.none(), st.just(1)),
    max_size=40,
)


def look(process: Process) -> None:
    """Write what lasts, at once instead of at the next look."""
    ledger = process.ledger
    if ledger._look is not None:
        ledger._look.cancel()
    ledger._write_lasting()


class World:
    """A hard budget for an app and for its day, at times one for everything; three kinds of calls, two processes."""

    def __init__(self, folder: Path) -> None:
        self.store, self.spools, self.born = Store(f"sqlite:///{folder / 'any.db'}"), folder / "spool", 0
        schema.upgrade(self.store)
        self.of_app, self.of_all = budget(self.store, LIMIT), ""
        self.of_day = budget(self.store, LIMIT, period="day")
        self.processes = [self.bear(), self.bear()]
        self.running: list[tuple[Process, dict[str, Any], int | None]] = []
        self.opened = 0

    def bear(self) -> Process:
        self.born += 1
        return Process(self.store, self.spools, f"process-{self.born}")

    async def step(self, what: str, which: Any, how: Any, times: int) -> None:
        match what:
            case "open":
                process, facts = self.processes[which[0]], which[1]
                asked = await asyncio.gather(*(process.open(how, facts=facts) for _ in range(times)))
                let_through = [row for row in asked if row is not None]
                self.running += [(process, row, how) for row in let_through]
                self.opened += len(let_through)
            case "close":
                self.close(which, how, times)
            case "drain":
                await self.processes[which].ledger.drain()
            case "look":
                look(self.processes[which])
            case "die":
                self.die(which)
            case "rest":
                await asyncio.sleep(0.002)
            case "begin" if not self.of_all:
                self.of_all = budget(self.store, 2 * LIMIT, scope="global", subject="")
            case "delete" if self.of_all:
                Budgets(self.store).delete(OPERATOR, self.of_all)
                self.of_all = ""
            case "count again":
                Budgets(self.store).recount(OPERATOR, self.of_app)
        assert max(sum(figures(self.store, one)) for one in (self.of_app, self.of_day)) <= LIMIT
        assert not self.of_all or sum(figures(self.store, self.of_all)) <= 2 * LIMIT

    def close(self, which: int, percent: int, times: int) -> None:
        """End up to `times` calls with a share of what they were let through with."""
        for _ in range(min(times, len(self.running))):
            process, row, amount = self.running.pop(which % len(self.running))
            process.close(row, None if amount is None else amount * percent // 100)

    def die(self, which: int) -> None:
        """Kill a process, put a new one in its place and recover what it left."""
        dead, self.processes[which] = self.processes[which], self.bear()
        dead.die()
        self.running = [call for call in self.running if call[0] is not dead]
        recovery.recover(self.store, self.spools, PriceBook())

    async def end(self) -> None:
        """End what runs, and every process as one that is told to."""
        for process, row, amount in self.running:
            process.close(row, amount)
        for process in self.processes:
            await process.stop()

    def list_figures(self) -> list[tuple[int, int]]:
        """(spent, held) of every budget."""
        return [figures(self.store, budget_id) for budget_id in (self.of_app, self.of_day, self.of_all) if budget_id]

    def recount(self) -> None:
        """Count what every budget has spent from the ledger."""
        for budget_id in filter(None, [self.of_app, self.of_day, self.of_all]):
            Budgets(self.store).recount(OPERATOR, budget_id)


@settings(max_examples=repeats(20, 1000), deadline=None)
@given(steps)
def test_the_sums_agree(planned: list[tuple[str, Any, Any, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))

        async def scenario() -> None:
            for step in planned:
                await world.step(*step)
            await world.end()

        asyncio.run(scenario())
        counted = world.list_figures()
        world.recount()
        assert world.list_figures() == counted, "what was spent is what the ledger says"
        assert [held for _, held in counted] == [0] * len(counted)
        assert rows(world.store, usage_logs) == world.opened
        assert (rows(world.store, open_calls), rows(world.store, budget_holds)) == (0, 0)
        world.store.dispose()
