"""Leases beside other kinds of calls, other processes, limits, and everything that breaks meanwhile."""

import asyncio
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from lib import services as root
from lib.access.grants import KeyGrant, Limits
from lib.access.limits import Claim, RateLimits
from lib.budgets import leases
from lib.budgets.budget import CallFacts
from lib.budgets.holds import sweep
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.failures import DatabaseAway
from lib.db.tables import budget_holds, budget_windows, open_calls, processes, usage_logs
from lib.errors import ErrorKind
from lib.ledger import admission, recovery
from lib.ledger import write_batch as batches
from lib.ledger.admission import OpeningRequest
from lib.ledger.closing import insert_closings
from lib.ledger.write_batch import Batch, Opening, Uncancelled, Written
from lib.ledger.writer import Ledger
from lib.providers.prices.price_book import PriceBook
from lib.settings import Settings
from tests.calls.leasing import FACTS, WARM, Process, budget, figures, rows
from tests.ledger.ledger_rig import closing, opening
from tests.waiting import CEILING_S

pytestmark = [pytest.mark.feature("COST-2"), pytest.mark.feature("CALL-4")]
OTHER = CallFacts("scripted", "other")
LATER = timedelta(hours=2)


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held ahead is held however slow the machine is."""
    monkeypatch.setattr("lib.budgets.leases.LASTS_S", 60.0)


def free(process: Process) -> int:
    """What is held ahead and not taken."""
    return sum(lease.free for lease in process.ledger._leases._leases.values())


async def leased(process: Process, amount: int = 50) -> dict[str, Any]:
    await process.warm_up(amount, 0)
    await process.wait_written()
    return await process.open_leased(amount)


def test_kinds_of_calls_that_share_a_budget_hold_what_they_asked_for(store: Store, tmp_path: Path) -> None:
    shared = budget(store, 1_000_000, scope="global", subject="")

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        opened = [await process.open(50, facts=CallFacts("scripted", app)) for app in ("a", "b", "c")]
        assert figures(store, shared) == (0, 150)
        for row in opened:
            assert row is not None
            process.close(row, 1)
        await process.stop()

    asyncio.run(scenario())
    assert figures(store, shared) == (3, 0)


@pytest.mark.usefixtures("lasting")
def test_however_often_it_is_renewed_a_lease_is_an_eighth(store: Store, tmp_path: Path) -> None:
    of_app = budget(store, 10_000)

    async def scenario() -> None:
        process, most = Process(store, tmp_path, "me"), 0
        for _ in range(60):
            opened = await asyncio.gather(*(process.open(50) for _ in range(4)))
            for row in opened:
                assert row is not None
                process.close(row, 0)
            await process.wait_written()
            most = max(most, free(process))
        assert 0 < most <= 10_000 // 8
        other = Process(store, tmp_path, "other")
        row = await other.open(6_000)
        assert row is not None
        other.close(row, 0)
        await process.stop()
        await other.stop()

    asyncio.run(scenario())
    assert figures(store, of_app) == (0, 0)


@pytest.mark.usefixtures("lasting")
def test_a_call_gets_what_is_left_to_the_last_nano(store: Store, tmp_path: Path) -> None:
    """Also when all that was leased is spent by calls that are written with it."""
    budget(store, 400, scope="global", subject="")

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        await process.warm_up(1, 0)
        await process.wait_written()
        ahead = free(process)
        for row in [await process.open_leased(1) for _ in range(ahead)]:
            process.close(row, 1)
        process.ledger._make_due()
        last = await process.open(400 - ahead, facts=OTHER)
        assert last is not None
        process.close(last, 0)
        await process.stop()

    asyncio.run(scenario())


@pytest.mark.usefixtures("lasting")
def test_the_sweep_leaves_a_process_that_is_known_its_lease(store: Store, tmp_path: Path) -> None:
    of_app = budget(store, 10_000)

    async def scenario() -> None:
        recovery.renew_lease_of_life(store, "me", 1)
        process = Process(store, tmp_path, "me")
        row = await leased(process)
        held = figures(store, of_app)
        with store.write() as connection:
            assert sweep(connection, utc_now() + LATER) == 0
        assert figures(store, of_app) == held
        assert await Process(store, tmp_path, "other").open(10_000) is None
        process.close(row, 50)
        await process.stop()

    asyncio.run(scenario())
    assert figures(store, of_app) == (50, 0)


@pytest.mark.usefixtures("lasting")
def test_what_a_process_killed_on_another_machine_held_ahead_is_given_back(store: Store, tmp_path: Path) -> None:
    of_app = budget(store, 10_000)

    async def scenario() -> None:
        recovery.renew_lease_of_life(store, "far", 1)
        process = Process(store, tmp_path / "theirs", "far")
        await process.warm_up(50, 0)
        await process.wait_written()
        process.die()

    asyncio.run(scenario())
    assert figures(store, of_app)[1] > 0
    recovery.recover(store, tmp_path / "ours", PriceBook())
    assert figures(store, of_app)[1] > 0  # it was seen a moment ago
    with store.write() as connection:
        connection.execute(update(processes).values(seen_at=utc_now() - 2 * recovery.UNSEEN))
    recovery.recover(store, tmp_path / "ours", PriceBook())
    assert (figures(store, of_app), rows(store, processes)) == ((0, 0), 0)


def test_a_process_that_was_taken_for_dead_is_there_again(store: Store, tmp_path: Path) -> None:
    async def scenario() -> None:
        recovery.renew_lease_of_life(store, "far", 1)
        process = Process(store, tmp_path / "theirs", "far")
        await process.open(5)
        with store.write() as connection:
            connection.execute(update(processes).values(seen_at=utc_now() - 2 * recovery.UNSEEN))
        assert recovery.recover(store, tmp_path / "ours", PriceBook()) == 1
        recovery.renew_lease_of_life(store, "far", 1)
        row = await process.open(5)
        assert row is not None
        assert recovery.recover(store, tmp_path / "ours", PriceBook()) == 0
        process.close(row, 7)
        await process.stop()

    asyncio.run(scenario())
    with store.read() as connection:
        assert set(connection.scalars(select(usage_logs.c.status))) == {"orphaned", "ok"}


def test_an_orphan_whose_provider_is_gone_has_no_known_cost(store: Store, tmp_path: Path) -> None:
    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        await process.open(5, facts=CallFacts("acme", "tests"))
        process.die()

    asyncio.run(scenario())
    assert recovery.recover(store, tmp_path, PriceBook()) == 1
    with store.read() as connection:
        row = connection.execute(select(usage_logs)).one()
    assert (row.status, row.cost_nano_usd, row.cost_status) == ("orphaned", None, "unpriced")


def test_what_one_dead_process_left_does_not_keep_the_others_waiting(store: Store, tmp_path: Path) -> None:
    spools = tmp_path / "spool"

    async def scenario() -> None:
        for name in ("bad", "good"):
            process = Process(store, spools, name)
            await process.open(5)
            process.die()

    asyncio.run(scenario())
    unreadable = spools / "bad" / "calls-000009.jsonl"
    unreadable.write_text('{"row": {"id": "of another version"}}\n')
    assert recovery.recover(store, spools, PriceBook()) == 1
    unreadable.unlink()
    assert [path.name for path in spools.iterdir()] == ["bad"]
    assert recovery.recover(store, spools, PriceBook()) == 1


def test_a_start_that_found_the_database_locked_is_tried_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, whole = root.build(settings), recovery.renew_lease_of_life
    with monkeypatch.context() as patched:
        patched.setattr(recovery, "renew_lease_of_life", lambda *_: (_ for _ in ()).throw(RuntimeError("locked")))
        with pytest.raises(RuntimeError):
            services.calls._ensure_loop()
    assert recovery.renew_lease_of_life is whole
    services.calls._ensure_loop()
    services.close()


@pytest.mark.usefixtures("lasting")
def test_a_call_that_goes_on_after_a_burst_gets_its_row(store: Store, tmp_path: Path) -> None:
    async def scenario() -> None:
        process = Process(store, tmp_path, "me")  # no budget: nothing is held, only granted
        row = await leased(process)
        process.ledger._leases._demand.clear()  # the burst has ended
        if process.ledger._look is not None:
            process.ledger._look.cancel()
        process.ledger._write_lasting()  # too early for this call
        await process.wait_written()
        assert row["id"] not in process.ledger._unwritten or process.ledger._look is not None
        process.close(row, 1)
        await process.stop()

    asyncio.run(scenario())


@pytest.mark.usefixtures("lasting")
def test_past_midnight_the_months_lease_goes_on(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    month = budget(store, 10_000_000)
    day = budget(store, 10_000_000, period="day")

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        await process.warm_up(50, 1)
        for module in ("lib.ledger.write_batch", "lib.budgets.leases"):
            monkeypatch.setattr(f"{module}.utc_now", lambda: utc_now() + timedelta(days=1))
        for _ in range(3):
            await process.warm_up(50, 1)
            await process.wait_written()
        ends = {charge[0]: lease.ends_at for charge, lease in process.ledger._leases._leases.items()}
        tomorrow = utc_now() + timedelta(days=2)
        assert ends[day] == datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=tomorrow.tzinfo)
        assert ends[month] > utc_now() + timedelta(days=1)
        assert ends[month].day == 1
        assert not process.ledger._leases.keep({FACTS: 50})
        await process.stop()

    asyncio.run(scenario())


@pytest.mark.usefixtures("lasting")
def test_an_attempt_of_a_key_that_limits_calls_at_once_has_its_row_from_the_start(store: Store, tmp_path: Path) -> None:
    budget(store, 10_000_000)
    key = KeyGrant("k", "tests", limits=Limits(concurrency=1))
    of_key = CallFacts("scripted", "tests", api_key_id="k")

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        opened = await asyncio.gather(*(process.open(10, facts=of_key, is_counted_open=True) for _ in range(WARM)))
        for row in opened:
            assert row is not None
            process.close(row, 0)
        await process.ledger.drain()
        again = await process.open(10, facts=of_key, is_counted_open=True, attempt=2)
        assert (again is not None, process.leased) == (True, 0)
        assert await process.open(10, Claim("tests", 1, key), of_key, is_counted_open=True) is None
        process.close(again or {}, 0)
        await process.stop()

    asyncio.run(scenario())


@pytest.mark.usefixtures("lasting")
def test_an_opening_that_cannot_be_noted_takes_no_money(store: Store, tmp_path: Path) -> None:
    of_app = budget(store, 10_000_000)

    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        running = await leased(process)
        before, deep = free(process), list[Any]()
        for _ in range(5_000):
            deep = [deep]
        row = opening("me", request=[{"role": "user", "content": deep}])
        with pytest.raises(RecursionError):
            process.ledger.open_at_once(row, OpeningRequest(row["id"], FACTS, 50))
        assert free(process) == before
        process.close(running, 1)
        await asyncio.wait_for(process.stop(), CEILING_S)

    asyncio.run(scenario())
    assert figures(store, of_app) == (1, 0)


@pytest.mark.usefixtures("lasting")
def test_a_refusal_does_not_forget_what_a_lost_connection_left_in_doubt(store: Store, tmp_path: Path) -> None:
    if store.is_sqlite:
        pytest.skip("SQLite loses no connection")
    of_app = budget(store, 10_000)

    async def scenario() -> None:
        is_to_break, broken = asyncio.Event(), list[Batch]()

        class BreakingLedger(Ledger):
            def write_in_thread(self, batch: Batch) -> Written:
                written = super().write_in_thread(batch)
                if is_to_break.is_set() and not broken and batch.opening:
                    broken.append(batch)
                    with store.write() as connection:  # meanwhile another process spends
                        connection.execute(update(budget_windows).values(spent_nano_usd=10_000 - held - 6_000))
                    raise DatabaseAway(was_connected=True)
                return written

        process = Process(store, tmp_path, "me", BreakingLedger)
        await process.warm_up(10, 0)
        await process.wait_written()
        held = figures(store, of_app)[1]
        is_to_break.set()
        opened = await asyncio.gather(process.open(3_000), process.open(3_001))
        assert None not in opened
        for row in opened:
            process.close(row or {}, 0)
        await process.stop()

    asyncio.run(scenario())


def test_limits_and_leases_lock_in_one_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process opens a call of a limited key and renews a lease while another ends a call of that key."""
    if store.is_sqlite:
        pytest.skip("SQLite has one lock")
    limits = RateLimits(store)
    key = KeyGrant("k", "tests", limits=Limits(requests_per_minute=1_000))
    of_key = CallFacts("scripted", "tests", api_key_id="k")
    ended = opening("two", api_key_id="k")
    with store.write() as connection:
        connection.execute(open_calls.insert(), [ended])
        limits.check_many(connection, [Claim("tests", 10, key)], ended["started_at"])
    counted, failed = threading.Event(), list[BaseException]()
    renew = leases.renew

    def slow(*what: Any) -> Any:
        counted.set()
        other.join(0.3)  # it waits for the lock, or it has the other one
        return renew(*what)

    monkeypatch.setattr(batches, "renew", slow)

    def open_one() -> None:
        row = opening("one", api_key_id="k")
        loop = asyncio.new_event_loop()
        one = Opening(row, OpeningRequest(row["id"], of_key, 5, Claim("tests", 10, key)), Uncancelled(loop=loop))
        wanted = leases.Wanted("one", {FACTS: 5}, {}, 0.0)
        with store.write() as connection:
            batches.write(connection, Batch([one], [], {}, {}, [], wanted, False, False), limits)
        loop.close()

    def end_one() -> None:
        counted.wait(CEILING_S)
        end = closing(ended)
        end.claim = Claim("tests", 10, key)
        with store.write() as connection:
            insert_closings(connection, [end], limits)

    def watched(work: Any) -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    other = threading.Thread(target=watched, args=(end_one,))
    first = threading.Thread(target=watched, args=(open_one,))
    other.start()
    first.start()
    first.join()
    other.join()
    assert failed == []


def test_a_call_that_a_limit_refuses_gives_back_without_a_lock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its budgets' lock is there already when it holds something, and not needed when it does not."""
    limits = RateLimits(store)
    key = KeyGrant("k", "tests", limits=Limits(requests_per_minute=1))
    of_key = CallFacts("scripted", "tests", api_key_id="k")
    monkeypatch.setattr("lib.budgets.holds.lock", lambda connection: pytest.fail("locked late"))

    def one_of_two(at: datetime) -> None:
        asks = [OpeningRequest(make_id(), of_key, 5, Claim("tests", 10, key)) for _ in range(2)]
        with store.write() as connection:
            answers = admission.admit(connection, asks, limits, at)
        assert [answer.kind for answer in answers] == [None, ErrorKind.LIMIT]

    one_of_two(utc_now() - LATER)
    assert rows(store, budget_holds) == 0
    of_app = budget(store, 1_000)
    one_of_two(utc_now())
    assert (figures(store, of_app), rows(store, budget_holds)) == ((0, 5), 1)
