"""Money held ahead for many alike calls: they open without the database, and no figure is different for it."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from lib.access.grants import KeyGrant, Limits
from lib.access.limits import Claim
from lib.access.permissions import OPERATOR
from lib.budgets import leases
from lib.budgets.budgets import Budgets
from lib.budgets.holds import sweep
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import budget_holds, budget_windows, open_calls, usage_logs
from lib.ledger import recovery
from lib.ledger.write_batch import Batch, Written
from lib.ledger.writer import Ledger
from lib.providers.prices.price_book import PriceBook
from tests.calls.leasing import FACTS, WARM, Process, budget, figures, rows
from tests.waiting import CEILING_S

pytestmark = [pytest.mark.feature("COST-2"), pytest.mark.feature("CALL-4")]


def spent_in_log(store: Store) -> int:
    with store.read() as connection:
        return int(connection.scalar(select(func.coalesce(func.sum(usage_logs.c.cost_nano_usd), 0))) or 0)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(CEILING_S):
        while not is_so():  # noqa: ASYNC110 (a row in a database tells nobody)
            await asyncio.sleep(0.01)


def is_open(store: Store, row: dict[str, Any]) -> bool:
    with store.read() as connection:
        return connection.scalar(select(open_calls.c.id).where(open_calls.c.id == row["id"])) is not None


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held ahead is held however slow the machine is."""
    monkeypatch.setattr("lib.budgets.leases.LASTS_S", 60.0)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


@pytest.mark.usefixtures("lasting")
def test_many_calls_of_a_kind_open_without_the_database(store: Store, tmp_path: Path) -> None:
    hard, soft = budget(store, 10_000_000), budget(store, 1_000, scope="global", subject="", is_hard=False)

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        await process.warm_up(50, 7)
        assert await process.calls(400, 50, 7) == 400
        assert process.leased > 300
        await process.ledger.drain()
        assert figures(store, hard) == figures(store, soft) == ((400 + WARM) * 7, 0)
        await process.stop()

    run(scenario)
    assert (rows(store, usage_logs), rows(store, open_calls), rows(store, budget_holds)) == (400 + WARM, 0, 0)
    assert not (tmp_path / "me").exists()


@pytest.mark.usefixtures("lasting")
def test_near_the_limit_as_many_pass_as_there_is_room_for(store: Store, tmp_path: Path) -> None:
    of_app = budget(store, 1_000)

    async def scenario() -> None:
        processes = [Process(store, tmp_path, name) for name in ("one", "two", "three")]
        for process in processes:
            await process.warm_up(1, 1)
        passed = await asyncio.gather(*(process.calls(600, 1, 1) for process in processes))
        for process in processes:
            await process.stop()
        assert sum(process.leased for process in processes) > 100
        assert sum(passed) == 1_000 - 3 * WARM

    run(scenario)
    assert figures(store, of_app) == (1_000, 0)
    assert rows(store, budget_holds) == 0


@pytest.mark.usefixtures("lasting")
def test_at_no_moment_is_more_spent_and_held_than_the_limit(store: Store, tmp_path: Path) -> None:
    of_app = budget(store, 5_000)
    chance = random.Random(4)

    async def scenario() -> None:
        processes = [Process(store, tmp_path, name) for name in ("one", "two")]
        running: list[tuple[Process, dict[str, Any], int]] = []
        for process in processes:
            await process.warm_up(20, 1)
        for step in range(700):
            process = chance.choice(processes)
            amount = chance.randint(1, 40)
            row = await process.open(amount)
            if row is not None:
                running.append((process, row, amount))
            if running and chance.random() < 0.7:
                owner, row, amount = running.pop(chance.randrange(len(running)))
                owner.close(row, chance.randint(0, amount))
            if step % 50 == 0:
                await asyncio.sleep(0.06)  # some get rows of their own
                assert sum(figures(store, of_app)) <= 5_000
        assert sum(process.leased for process in processes) > 50
        for owner, row, amount in running:
            owner.close(row, amount)
        for process in processes:
            await process.stop()

    run(scenario)
    assert figures(store, of_app) == (spent_in_log(store), 0)
    assert spent_in_log(store) <= 5_000


@pytest.mark.usefixtures("lasting")
def test_what_a_killed_process_held_ahead_and_what_it_had_opened_is_settled(store: Store, tmp_path: Path) -> None:
    of_app = budget(store, 10_000_000)
    running = list[dict[str, Any]]()

    async def scenario() -> None:
        process = Process(store, tmp_path, "killed")
        await process.warm_up(50, 7)
        assert figures(store, of_app)[1] > 1_000
        for row in [await process.open_leased(50) for _ in range(10)]:
            process.close(row, 7)
        running.extend([await process.open_leased(50) for _ in range(3)])
        process.die()

    run(scenario)
    assert recovery.recover(store, tmp_path, PriceBook()) > 0
    assert recovery.recover(store, tmp_path, PriceBook()) == 0
    with store.read() as connection:
        counted = select(usage_logs.c.status, func.count().label("calls")).group_by(usage_logs.c.status)
        by_status = {row.status: row.calls for row in connection.execute(counted)}
    assert by_status == {"ok": WARM + 10, "orphaned": len(running)}
    assert figures(store, of_app) == (spent_in_log(store), 0)
    assert (rows(store, open_calls), rows(store, budget_holds)) == (0, 0)


def test_a_call_that_goes_on_gets_its_row_and_holds(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.budgets.leases.LASTS_S", 60.0)
    of_app = budget(store, 10_000_000)

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        await process.warm_up(60, 7)
        monkeypatch.undo()
        row = await process.open_leased(60)
        assert not is_open(store, row)
        await until(lambda: is_open(store, row))
        await until(lambda: figures(store, of_app)[1] == 60)  # what was held ahead is given back when no more come
        process.close(row, 9)
        await process.stop()

    run(scenario)
    assert figures(store, of_app) == (WARM * 7 + 9, 0)


@pytest.mark.usefixtures("lasting")
def test_a_budget_that_begins_meanwhile_counts_what_runs(store: Store, tmp_path: Path) -> None:
    of_app = budget(store, 10_000_000)

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        await process.warm_up(50, 7)
        short, long = await process.open_leased(50), await process.open_leased(50)
        everything = await asyncio.to_thread(budget, store, 20_000, "global", "")
        before, _ = figures(store, everything)  # what had ended in the database
        process.close(short, 5)
        await process.ledger.drain()
        assert figures(store, everything)[0] == spent_in_log(store) >= before + 5
        process.close(long, 11)
        await process.stop()
        assert figures(store, everything) == figures(store, of_app) == (WARM * 7 + 16, 0)

    run(scenario)


@pytest.mark.usefixtures("lasting")
def test_a_lease_that_the_sweep_took_does_no_harm(store: Store, tmp_path: Path) -> None:
    of_app = budget(store, 10_000_000)

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        await process.warm_up(50, 7)
        row = await process.open_leased(50)
        with store.write() as connection:
            connection.execute(update(budget_holds).values(expires_at=utc_now() - timedelta(seconds=1)))
            assert sweep(connection, utc_now()) == 1
        assert figures(store, of_app)[1] == WARM * 50  # the calls that asked for themselves
        process.close(row, 7)
        await process.calls(WARM, 50, 7)
        await process.stop()

    run(scenario)
    assert figures(store, of_app) == ((2 * WARM + 1) * 7, 0)


@pytest.mark.usefixtures("lasting")
def test_a_call_of_unknown_cost_needs_no_money_and_is_counted_apart(store: Store, tmp_path: Path) -> None:
    of_app = budget(store, 10_000_000)

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        await process.warm_up(50, 7)
        leased = process.leased
        row = await process.open(None)
        assert row is not None
        assert process.leased == leased + 1
        process.close(row, None)
        await process.stop()

    run(scenario)
    assert figures(store, of_app) == (WARM * 7, 0)
    with store.read() as connection:
        assert connection.scalar(select(budget_windows.c.unpriced_calls)) == 1


@pytest.mark.usefixtures("lasting")
def test_a_lower_limit_ends_what_was_held_ahead(store: Store, tmp_path: Path) -> None:
    of_app = budget(store, 10_000_000)

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        await process.warm_up(50, 7)
        await asyncio.to_thread(Budgets(store).update, OPERATOR, of_app, limit_nano=1_000)
        await process.calls(200, 50, 7)
        await process.stop()

    run(scenario)
    spent, held = figures(store, of_app)
    assert held == 0
    assert spent <= 1_000 + 64 * 7  # what opened before the next batch


@pytest.mark.usefixtures("lasting")
def test_a_deleted_budget_is_forgotten(store: Store, tmp_path: Path) -> None:
    of_app = budget(store, 10_000_000)

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        await process.warm_up(50, 7)
        row = await process.open_leased(50)
        await asyncio.to_thread(Budgets(store).delete, OPERATOR, of_app)
        process.close(row, 7)
        await process.calls(WARM, 50, 7)
        await process.stop()

    run(scenario)
    assert rows(store, usage_logs) == 2 * WARM + 1
    assert (rows(store, budget_holds), rows(store, budget_windows)) == (0, 0)


@pytest.mark.usefixtures("lasting")
def test_calls_under_limits_or_of_unknown_cost_are_asked_for(store: Store, tmp_path: Path) -> None:
    of_app = budget(store, 10_000_000, block_unpriced=True)

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        free = Claim("tests", 1, KeyGrant("k", "tests"))
        limited = Claim("tests", 1, KeyGrant("k", "tests", limits=Limits(requests_per_minute=WARM + 3)))
        await process.warm_up(5, 5)
        row = await process.open(5, free)  # nobody has looked for limits of apps
        assert row is not None
        process.close(row, 5)
        assert process.leased == 0
        process.close(await process.open_leased(5), 5)
        leased = process.leased
        assert await process.open(None) is None  # of unknown cost, which the budget does not let through
        passed = [await process.open(5, limited) for _ in range(WARM + 10)]
        assert sum(row is not None for row in passed) == WARM + 3
        assert process.leased == leased
        for row in passed:
            if row is not None:
                process.close(row, 5)
        await process.stop()

    run(scenario)
    assert figures(store, of_app) == ((2 * WARM + 5) * 5, 0)


@pytest.mark.usefixtures("lasting")
def test_a_full_disk_sends_calls_to_the_database(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_app = budget(store, 10_000_000)

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        await process.warm_up(50, 7)
        leased, real = process.leased, os.write
        monkeypatch.setattr("lib.ledger.spool.os.write", lambda file, data: real(file, data[:20]))
        row = await process.open(50)
        monkeypatch.undo()
        assert row is not None
        assert process.leased == leased
        assert is_open(store, row)
        process.close(row, 7)
        await process.calls(5, 50, 7)
        process.die()

    run(scenario)
    recovery.recover(store, tmp_path, PriceBook())  # the piece of a record is passed over
    assert rows(store, usage_logs) == WARM + 6
    assert figures(store, of_app) == ((WARM + 6) * 7, 0)


@pytest.mark.usefixtures("lasting")
def test_a_new_window_gets_leases_of_its_own(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_app = budget(store, 10_000_000)

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        await process.warm_up(50, 7)
        row = await process.open_leased(50)
        later = utc_now() + timedelta(days=32)
        for module in ("lib.ledger.write_batch", "lib.budgets.leases", "lib.ledger.closing"):
            monkeypatch.setattr(f"{module}.utc_now", lambda: later)
        process.close(row, 7)
        leased = process.leased
        await process.calls(100, 50, 7)
        assert process.leased > leased + 20
        await process.stop()

    run(scenario)
    with store.read() as connection:
        windows = connection.execute(
            select(budget_windows).where(budget_windows.c.budget_id == of_app).order_by(budget_windows.c.starts_at)
        ).all()
    first, second = windows
    assert (first.held_nano_usd, second.held_nano_usd) == (0, 0)
    assert first.spent_nano_usd + second.spent_nano_usd == spent_in_log(store)
    assert second.spent_nano_usd > 20 * 7
    assert first.spent_nano_usd >= (WARM + 1) * 7


@pytest.mark.usefixtures("lasting")
def test_a_batch_of_which_nobody_knows_whether_it_was_committed_counts_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_app = budget(store, 10_000_000)

    async def scenario() -> None:
        lost = list[int]()

        class BreakingLedger(Ledger):
            def write_in_thread(self, batch: Batch) -> Written:
                written = super().write_in_thread(batch)
                if batch.lasting and not lost:
                    lost.append(1)
                    raise RuntimeError("the connection broke")
                return written

        process = Process(store, tmp_path, "me", BreakingLedger, commits_in_loop=False)
        await process.warm_up(50, 7)
        running = [await process.open_leased(50) for _ in range(4)]
        await until(lambda: bool(lost))
        process.close(running[0], 7)
        await until(lambda: rows(store, open_calls) == 3)
        for row in running[1:]:
            process.close(row, 7)
        await process.stop()

    run(scenario)
    assert rows(store, usage_logs) == WARM + 4
    assert figures(store, of_app) == ((WARM + 4) * 7, 0)
    assert (rows(store, open_calls), rows(store, budget_holds)) == (0, 0)


def test_few_calls_are_never_leased_for(store: Store, tmp_path: Path) -> None:
    budget(store, 10_000_000)

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        for _ in range(30):
            await process.calls(1, 50, 7)
            await asyncio.sleep(0.02)
        assert process.leased == 0
        await process.stop()

    run(scenario)


def test_a_call_that_took_nothing_may_outlive_its_lease() -> None:
    of_process, charge = leases.Leases("me"), ("budget", utc_now())
    ends_at = utc_now() + timedelta(hours=1)
    request = leases.Wanted("me", {FACTS: 0}, {}, asked_at=float("inf"))
    granted = {FACTS: leases.Granted((charge,), (charge,), False, ends_at)}
    of_process.renewed(request, leases.Renewed(granted, {charge: 1}, {charge: ends_at}))  # the budget is not used up
    taken = of_process.take(FACTS, None)
    assert taken is not None
    of_process.keep(())
    of_process.renewed(request, leases.Renewed({}, {}, {}))  # the lease is gone
    wanted = of_process.wanted({FACTS: 0}, [taken])
    assert wanted is not None
    assert wanted.leases == {}


def test_the_database_alone_decides_what_a_lease_may_be(store: Store, tmp_path: Path) -> None:
    """A lease is one part in eight of what is left, and too little for four calls is none."""
    of_app = budget(store, 8_000)
    wanted = leases.Wanted("me", {FACTS: 100}, {}, 0.0)
    with store.write() as connection:
        found = leases.renew(connection, wanted, utc_now())
    assert set(found.gained.values()) == {1_000}
    assert figures(store, of_app) == (0, 1_000)
    with store.write() as connection:
        connection.execute(delete(budget_holds))
        connection.execute(update(budget_windows).values(held_nano_usd=0, spent_nano_usd=5_000))
        found = leases.renew(connection, wanted, utc_now())
    assert not found.granted
    assert figures(store, of_app) == (5_000, 0)


@pytest.mark.usefixtures("lasting")
def test_a_call_that_has_just_ended_is_found(store: Store, tmp_path: Path) -> None:
    from lib.activity.call_log import Activity
    from lib.activity.custom_metrics import Metrics

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        await process.warm_up(50, 7)
        row = await process.open_leased(50)
        process.close(row, 7)
        assert not is_open(store, row)
        metric = await asyncio.to_thread(Metrics(store).record, OPERATOR, row["call_id"], "quality", 1)
        assert metric.call_id == row["call_id"]
        row = await process.open_leased(50)
        detail = await asyncio.to_thread(Activity(store).detail, OPERATOR, row["id"])
        assert detail.log["id"] == row["id"]
        await process.stop()

    run(scenario)
