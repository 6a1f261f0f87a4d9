"""An attempt reads from a source: one that remembers answers asks no adapter, costs nothing and says what it saved."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import select

from lib.calls.live_call import LiveCall
from lib.calls.request import Plan
from lib.calls.sources import FREE, Bound
from lib.db.tables import budget_holds, open_calls
from lib.errors import ErrorKind, ProviderError, Throttled
from lib.providers.chunks import Finish, Piece, ServedModel, TextDelta, Usage, UsageReport
from lib.settings import Settings
from tests.calls.rig import AMIRA, Rig

pytestmark = pytest.mark.feature("CALL-1")
PIECES = (ServedModel("echo-1"), TextDelta("As I said"), UsageReport(Usage(1000, 200)), Finish("stop"))


class Remembered:
    """A scripted source; an error among its pieces is raised in its place."""

    cache = "exact"
    age_s = 60

    def __init__(self, *pieces: Piece | Exception) -> None:
        self.pieces = pieces
        self.held: list[Any] = []

    def find_lane(self, call: LiveCall) -> str:
        return "cache"

    def bound(self, call: LiveCall) -> Bound:
        return FREE

    def limit(self, call: LiveCall) -> Throttled | None:
        return None

    async def read(self, call: LiveCall) -> AsyncIterator[Piece]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def compute_saved_nano(self, call: LiveCall) -> int | None:
        return 4_200


class Memory:
    """Answers everything from one source, and notes what has ended."""

    def __init__(self, source: Remembered | None) -> None:
        self.source = source
        self.taken: list[LiveCall] = []

    async def find(self, plan: Plan) -> Remembered | None:
        return self.source

    def take(self, call: LiveCall) -> None:
        self.taken.append(call)


@pytest.fixture
def rig(settings: Settings) -> Iterator[Rig]:
    rig = Rig(settings)
    yield rig
    rig.services.close()


def test_a_remembered_answer_needs_no_adapter_and_closes_with_cost_0_and_what_it_saved(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.calls.upstream.select_adapter", lambda *_: pytest.fail("an adapter was asked"))
    memory = rig.services.calls.recall = Memory(Remembered(*PIECES))
    view = rig.run("say:Something else+priced")
    assert (view.status, view.text, view.served_model, view.cost_nano_usd) == ("ok", "As I said", "echo-1", 0)
    (row,) = rig.rows(view.call_id)
    told = {
        name: row[name] for name in ("cost_nano_usd", "cost_status", "saved_nano_usd", "cache", "lane", "total_tokens")
    }
    assert told == {
        "cost_nano_usd": 0,
        "cost_status": "free",
        "saved_nano_usd": 4_200,
        "cache": "exact",
        "lane": "cache",
        "total_tokens": None,
    }
    assert (row["status"], row["usage_source"], row["finish_reason"], row["is_final"]) == ("ok", "none", "stop", True)
    assert [(call.call_id, call.row is not None and call.row.cache) for call in memory.taken] == [
        (view.call_id, "exact")
    ]
    with rig.services.store.read() as connection:
        assert connection.execute(select(open_calls.c.id)).all() == []


def test_a_remembered_answer_passes_a_budget_that_has_no_room(rig: Rig) -> None:
    script = "say:Dear+usage:1000,1000+priced"
    rig.services.budgets.create(AMIRA, scope="global", period="day", limit_nano=1_000)
    assert rig.run(script).status == "refused"
    rig.services.calls.recall = Memory(Remembered(*PIECES))
    assert rig.run(script).status == "ok"
    with rig.services.store.read() as connection:
        assert connection.execute(select(budget_holds.c.amount_nano_usd)).scalars().all() == []


def test_what_falls_short_before_a_word_is_asked_of_the_model(rig: Rig) -> None:
    gone = ProviderError(ErrorKind.SERVER_ERROR, "It is gone.")
    memory = rig.services.calls.recall = Memory(Remembered(gone))
    view = rig.run("say:Hello there")
    assert (view.text, view.attempt) == ("Hello there", 2)
    first, second = rig.rows(view.call_id)
    assert (first["cache"], first["status"], first["is_final"], first["saved_nano_usd"]) == (
        "exact",
        "error",
        False,
        None,
    )
    assert (second["cache"], second["status"], second["is_final"]) == ("none", "ok", True)
    memory.source = Remembered(TextDelta("Half an"), gone)
    broken = rig.run("say:Hello there")
    assert (broken.status, broken.text, broken.attempt) == ("error", "Half an", 1)


def test_a_memory_that_fails_costs_nobody_an_answer(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = rig.services.calls.recall = Memory(None)

    def fail(*_: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(memory, "find", fail)
    monkeypatch.setattr(memory, "take", fail)
    assert rig.run("say:Hello").text == "Hello"
