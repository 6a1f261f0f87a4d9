"""Rows open before anything is sent, close exactly once, and survive a database that refuses for a while."""

import asyncio
import json
import math
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from lib.access.grants import KeyGrant, Limits
from lib.access.limits import Claim, RateLimits
from lib.budgets.budget import CallFacts
from lib.db.engine import Store
from lib.db.tables import ledger_clock, open_calls, usage_logs, usage_payloads
from lib.errors import LLMManagerError
from lib.fast_json import encode
from lib.ledger import recovery
from lib.ledger.admission import OpeningRequest
from lib.ledger.closing import Closing, insert_closings
from lib.ledger.spool import Spool, iterate_dead_spools
from lib.ledger.write_batch import Batch, Written
from lib.ledger.writer import Ledger
from lib.providers.prices.price_book import PriceBook
from tests.ledger.ledger_rig import ask, closing, counts, opening


@pytest.mark.feature("CALL-4")
def test_a_call_is_open_before_it_is_sent_and_closed_once(store: Store, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", "me")

    async def scenario() -> None:
        ledger = Ledger(store, spool, RateLimits(store))
        row = opening("me")
        await ledger.open(row, ask(row))
        assert counts(store) == (1, 0, 0)
        ended = closing(row)
        ledger.close(ended)
        ledger.close(ended)  # a repeated closing changes nothing
        await ledger.drain()
        assert counts(store) == (0, 1, 1)

    asyncio.run(scenario())
    assert sum(path.stat().st_size for path in spool.folder.glob("calls-*")) == 0
    spool.close()
    assert not spool.folder.exists()


@pytest.mark.feature("CALL-4")
def test_calls_that_open_together_share_a_transaction_and_keep_their_order(store: Store, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", "me")

    async def scenario() -> None:
        ledger = Ledger(store, spool, RateLimits(store))
        rows = [opening("me") for _ in range(50)]
        await asyncio.gather(*(ledger.open(row, ask(row)) for row in rows))
        for row in rows:
            ledger.close(closing(row))
        await ledger.drain()

    asyncio.run(scenario())
    spool.close()
    with store.read() as connection:
        sequence = list(connection.scalars(select(usage_logs.c.change_seq).order_by(usage_logs.c.change_seq)))
        assert sequence == list(range(sequence[0], sequence[0] + 50))
        assert connection.scalar(select(ledger_clock.c.change_seq)) >= sequence[-1]


@pytest.mark.feature("CALL-4")
def test_a_refusing_database_delays_a_closing_and_loses_nothing(tmp_path: Path, settings: Any) -> None:
    from lib.db import schema

    store = Store(settings.database_url)
    schema.upgrade(store)
    spool = Spool(tmp_path / "spool", "me")

    async def scenario() -> None:
        ledger = Ledger(store, spool, RateLimits(store))
        row = opening("me")
        await ledger.open(row, ask(row))
        refuse = "CREATE TRIGGER refuse BEFORE INSERT ON usage_logs BEGIN SELECT RAISE(ABORT, 'no'); END"
        with store.write() as connection:
            connection.execute(text(refuse))
        ledger.close(closing(row))
        await asyncio.sleep(0.05)  # the first try fails meanwhile
        assert len(list(spool.folder.glob("calls-*"))) == 1
        assert counts(store) == (1, 0, 0)
        with store.write() as connection:
            connection.execute(text("DROP TRIGGER refuse"))
        await ledger.drain()
        assert counts(store) == (0, 1, 1)

    asyncio.run(scenario())
    spool.close()
    store.dispose()


@pytest.mark.feature("CALL-4")
@pytest.mark.feature("COST-2")
def test_endings_that_wait_while_another_call_is_refused_are_all_written(store: Store, tmp_path: Path) -> None:
    spool, limits = Spool(tmp_path / "spool", "me"), RateLimits(store)

    async def scenario() -> None:
        is_watched, tries = threading.Event(), list[int]()

        class WatchedLedger(Ledger):
            def write_in_thread(self, batch: Batch) -> Written:
                if is_watched.is_set():
                    if not tries:
                        self._closing.append(closing(second))  # it ends while the others are being written
                    tries.append(len(batch.closing))
                return super().write_in_thread(batch)

        ledger = WatchedLedger(store, spool, limits, commits_in_loop=False)
        first, second, refused = opening("me"), opening("me"), opening("me")
        await asyncio.gather(ledger.open(first, ask(first)), ledger.open(second, ask(second)))
        is_watched.set()
        ledger._closing.append(closing(first))
        key = KeyGrant("k", "tests", limits=Limits(requests_per_minute=0))
        facts = OpeningRequest(refused["id"], CallFacts(refused["provider"], refused["app"]), 0, Claim("tests", 1, key))
        answer = await ledger.open(refused, facts)
        assert answer.refusal is not None
        assert tries == [1, 2]
        assert counts(store) == (0, 2, 2)

    asyncio.run(scenario())
    spool.close()


@pytest.mark.feature("CALL-4")
def test_a_folder_of_a_process_that_died_before_it_began_goes_after_a_while(tmp_path: Path) -> None:
    young, old = tmp_path / ".young", tmp_path / ".old"
    for folder in (young, old):
        folder.mkdir()
        (folder / "lock").touch()
    os.utime(old, (0, 0))
    assert list(iterate_dead_spools(tmp_path)) == []
    assert (young.exists(), old.exists()) == (True, False)


@pytest.mark.feature("CALL-4")
def test_what_a_dead_process_left_is_closed_once(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "spool"
    ended, running, unknown = opening("dead"), opening("dead"), opening("elsewhere")
    with store.write() as connection:
        connection.execute(insert(open_calls), [ended, running, unknown])
    spool = Spool(root, "dead")
    spool.append(closing(ended).to_record())
    note = {"text": "Half an ", "chunks": 2, "first_token_ms": 20, "elapsed_ms": 600}
    spool.checkpoint(running["id"], note)
    spool.checkpoint(running["id"], note | {"text": "answer", "chunks": 3, "elapsed_ms": 1200})
    assert list(iterate_dead_spools(root)) == []  # alive: the lock is held
    assert recovery.recover(store, root, PriceBook()) == 1  # the one elsewhere has no sign of life
    spool.rotate()
    os.close(spool._lock)  # what the kernel does when a process is killed
    assert recovery.recover(store, root, PriceBook()) == 2
    assert recovery.recover(store, root, PriceBook()) == 0
    assert not (root / "dead").exists()
    with store.read() as connection:
        by_id = {row["id"]: row for row in connection.execute(select(usage_logs)).mappings()}
        words = connection.scalar(select(usage_payloads.c.response_text).where(usage_payloads.c.id == running["id"]))
    assert by_id[ended["id"]]["status"] == "ok"
    assert by_id[running["id"]]["status"] == by_id[unknown["id"]]["status"] == "orphaned"
    assert by_id[running["id"]]["execution_time_ms"] == 1200
    assert by_id[running["id"]]["usage_source"] == "estimated"
    assert words == "Half an answer"
    assert counts(store)[0] == 0


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "spool" / "dead"
    folder.mkdir(parents=True)
    (folder / "closed-000001.jsonl").write_bytes(json.dumps({"row": 1}).encode() + b'\n{"row": {"id": "x')
    [dead] = list(iterate_dead_spools(tmp_path / "spool"))
    assert dead.records() == [{"row": 1}]


@pytest.mark.parametrize("word", ["plain", "\ud800 no UTF-8"])
def test_a_closing_survives_the_spool_unchanged(store: Store, word: str) -> None:
    original = closing(opening("me"))
    spooled = encode(Closing(original.row, {"response": {"word": word}}).to_record())
    again = Closing.from_record(json.loads(spooled))
    assert again.row == original.row
    assert again.payload == {"response": {"word": word}}
    again.payload = original.payload
    with store.write() as connection:
        assert insert_closings(connection, [again]) == 1
        assert insert_closings(connection, [original]) == 0


@pytest.mark.feature("CALL-4")
def test_an_opening_that_failed_after_its_commit_does_not_stay_open(store: Store, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", "me")
    fails = [LLMManagerError("The connection broke.")]

    class BreakingLedger(Ledger):
        def write_in_thread(self, batch: Batch) -> Written:
            written = super().write_in_thread(batch)
            if fails:
                raise fails.pop()
            return written

    async def scenario() -> None:
        ledger = BreakingLedger(store, spool, RateLimits(store), retry_s=0.01, commits_in_loop=False)
        row = opening("me")
        with pytest.raises(LLMManagerError):
            await ledger.open(row, ask(row))
        await ledger.drain()

    asyncio.run(scenario())
    spool.close()
    assert counts(store) == (0, 0, 0)


def test_more_endings_than_a_statement_takes_are_written(store: Store) -> None:
    ended = [closing(opening("me")) for _ in range(8)]
    with store.write() as connection:
        assert insert_closings(connection, ended, most_at_once=3) == 8
        assert insert_closings(connection, ended, most_at_once=3) == 0
        sequence = list(connection.scalars(select(usage_logs.c.change_seq).order_by(usage_logs.c.change_seq)))
    assert len(set(sequence)) == 8


@pytest.mark.feature("CALL-4")
def test_a_process_that_begins_is_not_taken_for_a_dead_one(tmp_path: Path) -> None:
    """However often others look for dead ones meanwhile."""
    stopped = threading.Event()

    def look_for_dead_ones() -> None:
        while not stopped.is_set():
            for dead in iterate_dead_spools(tmp_path):
                dead.remove()

    looking = threading.Thread(target=look_for_dead_ones)
    looking.start()
    try:
        for number in range(300):
            spool = Spool(tmp_path, f"process-{number}")
            spool.append({"number": number})
            assert [path.name for path in spool.folder.glob("*.jsonl")] == ["calls-000001.jsonl"]
            spool.rotate()
            spool.drop_before(math.inf)
            spool.close()
    finally:
        stopped.set()
        looking.join()
