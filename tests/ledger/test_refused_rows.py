"""A row that the database refuses keeps no other waiting: neither now nor after a crash."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from lib.calls.live_call import AttemptState
from lib.calls.request import Target
from lib.db.engine import Store
from lib.db.tables import open_calls, usage_logs
from lib.ledger import recovery
from lib.ledger.closing import Closing
from lib.providers.chunks import Endpoint, Finish, ModelRequest, ServedModel
from lib.providers.prices.price_book import PriceBook
from lib.providers.protocols.usage import read_anthropic, read_cost_nano, read_openai
from tests.calls.leasing import Process, budget, figures, rows
from tests.ledger.ledger_rig import closing

pytestmark = pytest.mark.feature("CALL-4")


def refused(row: dict[str, Any]) -> Closing:
    """An end that no database takes: a number larger than any column, and words."""
    end = closing(row)
    end.row.prompt_tokens = 2**70
    end.row.finish_reason = "stop"
    end.row.cost_nano_usd = 7
    return end


def ended(store: Store) -> dict[str, Any]:
    with store.read() as connection:
        return {row["id"]: dict(row) for row in connection.execute(select(usage_logs)).mappings()}


def test_an_end_that_is_refused_is_kept_bare_and_the_others_whole(store: Store, tmp_path: Path) -> None:
    of_app = budget(store, 1_000_000)

    async def scenario() -> tuple[str, str]:
        process = Process(store, tmp_path, "me")
        bad, good = await process.open(50), await process.open(50)
        assert bad is not None
        assert good is not None
        process.ledger.close(refused(bad))
        process.close(good, 5)
        again = await process.open(50)
        assert again is not None
        process.close(again, 5)
        await process.stop()
        return bad["id"], good["id"]

    bad, good = asyncio.run(scenario())
    found = ended(store)
    assert (found[bad]["prompt_tokens"], found[bad]["completion_tokens"], found[bad]["cost_nano_usd"]) == (None, 4, 7)
    assert "could not be kept" in found[bad]["error_message"]
    assert (found[good]["error_message"], len(found)) == (None, 3)
    assert figures(store, of_app) == (17, 0)
    assert not (tmp_path / "me").exists()


def test_what_a_killed_process_left_is_closed_though_one_end_is_refused(store: Store, tmp_path: Path) -> None:
    async def scenario() -> None:
        process = Process(store, tmp_path, "me")
        opened = [await process.open(50) for _ in range(2)]
        ends: tuple[Callable[..., Closing], ...] = (refused, closing)
        for row, end in zip(opened, ends, strict=True):
            assert row is not None
            process.spool.append(end(row).to_record())
        process.die()

    asyncio.run(scenario())
    assert recovery.recover(store, tmp_path, PriceBook()) == 2
    assert {row["status"] for row in ended(store).values()} == {"ok"}
    assert (rows(store, open_calls), [path.name for path in tmp_path.glob("me")]) == (0, [])


def test_what_a_provider_says_fits_the_columns() -> None:
    attempt = AttemptState(1, Target(Endpoint("p", "p", "custom"), ModelRequest("m", [])))
    attempt.take(Finish("st\0op" * 5_000))
    attempt.take(ServedModel("m\ud800" * 5_000))
    columns = usage_logs.c
    assert len(attempt.finish_reason or "") == columns.finish_reason.type.length  # type: ignore[attr-defined]
    assert len(attempt.served_model or "") == columns.served_model.type.length  # type: ignore[attr-defined]
    assert "\0" not in (attempt.finish_reason or "")
    (attempt.served_model or "").encode()


def test_a_count_that_cannot_be_one_is_none() -> None:
    assert read_openai({"prompt_tokens": 10**30, "completion_tokens": 10**30}) is None
    assert read_anthropic({"input_tokens": 10**30, "output_tokens": 10**30}) is None
    assert read_cost_nano({"cost": 10**30}) is None
    assert read_openai({"prompt_tokens": 10**6, "completion_tokens": 1}) is not None
