"""A sample year is realistic, repeatable, marked, and leaves without a trace."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from lib.access.permissions import OPERATOR, Role, make_actor
from lib.clock import make_id_at
from lib.db.engine import Store
from lib.db.tables import ledger_clock, usage_logs, usage_payloads
from lib.demo import Demo, name_demo_users
from lib.demo.year import draw_blocks
from lib.errors import Conflict, PermissionDenied
from lib.ledger.closing import take_sequence
from lib.providers.chunks import Usage
from lib.providers.prices.price_book import PriceBook

MOMENTS = ("started_at", "finished_at")
NOW = datetime(2026, 11, 22, 14, 22, 28, tzinfo=UTC)


def drawn(calls: int = 3000, seed: int = 7) -> list[dict[str, Any]]:
    found = []
    for block in draw_blocks(calls, seed, NOW, PriceBook()):
        for values in zip(*block.values(), strict=True):
            row = dict(zip(block, values, strict=True))
            moments = {name: datetime.fromisoformat(row[name]).replace(tzinfo=UTC) for name in MOMENTS}
            found.append(row | moments | {name: json.loads(row[name]) for name in ("parameters", "tags")})
    return found


@pytest.mark.feature("SET-5")
def test_the_year_has_what_a_real_one_has() -> None:
    year = drawn(10_000)
    assert sum(row["is_final"] for row in year) == 10_000
    assert len({row["id"] for row in year}) == len(year)
    assert len({row["provider"] for row in year}) >= 8
    assert len({row["model"] for row in year}) >= 12
    assert {row["status"] for row in year} == {"ok", "error", "timeout", "cancelled", "truncated", "refused"}
    assert any(row["attempt"] == 2 and row["is_final"] for row in year)
    assert any(row["cache_read_tokens"] for row in year)
    assert {row["user_id"] for row in year} == set(name_demo_users())
    assert all(row["started_at"] <= row["finished_at"] <= NOW for row in year)
    days = {row["started_at"].date() for row in year}
    assert 360 <= len(days) <= 367


@pytest.mark.feature("SET-5")
def test_a_price_nobody_knows_stays_unknown_and_free_is_zero() -> None:
    year = drawn(10_000)
    assert {row["model"] for row in year if row["cost_nano_usd"] is None} == {"acme-chat-2"}
    assert all(row["cost_nano_usd"] == 0 for row in year if row["provider"] in ("ollama", "local"))
    priced = {row["model"] for row in year if row["cost_status"] == "priced"}
    assert {"gpt-5.1", "claude-sonnet-4-5", "gemini-2.5-pro", "mistral-large-2512", "deepseek-chat"} <= priced


@pytest.mark.feature("SET-5")
def test_the_year_has_a_story() -> None:
    """Growth, weekends, a launch, a price that fell, an incident, a script that ran away."""
    year = [row for row in drawn(40_000) if row["is_final"]]
    days = Counter(row["started_at"].date() for row in year)
    start = min(days)
    first, last = (
        sum(n for day, n in days.items() if (day - start).days in range(*part)) for part in ((0, 90), (275, 365))
    )
    assert last > 1.5 * first
    weekday, weekend = (sum(n for day, n in days.items() if (day.weekday() > 4) is end) for end in (False, True))
    assert weekend / 2 < 0.5 * weekday / 5
    assert min(row["started_at"] for row in year if row["app"] == "invoice-reader").date() > start + timedelta(days=100)
    chat = [row for row in year if row["model"] == "deepseek-chat" and row["cost_status"] == "priced"]
    per_token = [
        sum(r["cost_nano_usd"] for r in part) / sum(r["total_tokens"] for r in part)
        for part in (chat[:200], chat[-200:])
    ]
    assert 1.6 < per_token[0] / per_token[1] < 2.4
    hours = Counter(row["started_at"].replace(minute=0, second=0, microsecond=0) for row in year)
    worst, calls = hours.most_common(1)[0]
    assert 30 <= (NOW - worst).days <= 31
    assert calls > 2 * sorted(hours.values())[-len(hours) // 100]
    day = (NOW - timedelta(days=93)).date()
    down = [
        r
        for r in year
        if r["started_at"].date() == day and 13 <= r["started_at"].hour < 16 and r["provider"] == "openai"
    ]
    assert sum(row["status"] == "error" for row in down) > 0.4 * len(down) > 2


@pytest.mark.feature("SET-5")
def test_ids_and_costs_are_those_of_a_live_call() -> None:
    prices = PriceBook()
    for row in drawn(2000):
        milliseconds, entropy = round(row["started_at"].timestamp() * 1000), int(row["id"].replace("-", "")[-16:], 16)
        assert row["id"] == make_id_at(milliseconds, row["attempt"], entropy & (1 << 62) - 1)
        if row["cost_status"] == "priced" and not row["price_id"].endswith("fell"):
            usage = Usage(row["prompt_tokens"], row["completion_tokens"], row["cache_read_tokens"])
            price = prices.price(row["provider"], row["model"], row["started_at"])
            assert price is not None
            assert (row["cost_nano_usd"], row["price_id"]) == (price.cost_nano(usage), price.price_id)


@pytest.mark.feature("SET-5")
def test_the_same_seed_gives_the_same_year() -> None:
    assert drawn() == drawn()
    assert drawn(seed=8) != drawn()


@pytest.mark.feature("SET-5")
def test_loading_marks_every_row_and_removing_leaves_only_the_live_ones(store: Store) -> None:
    demo, steps = Demo(store), []
    live = drawn(1)[-1] | {"batch_id": None, "id": "00000000-0000-7000-8000-000000000001"}
    with store.write() as connection:
        connection.execute(insert(usage_logs), [live | {"change_seq": take_sequence(connection, 1)}])
    assert not demo.is_present()
    assert demo.load(OPERATOR, 6000, progress=lambda done, total: steps.append((done, total))) == 6000
    assert demo.is_present()
    assert steps[-1] == (6000, 6000)
    assert len(steps) > 1
    with store.read() as connection:
        rows_in, newest = connection.execute(
            select(func.count(), func.max(usage_logs.c.change_seq)).select_from(usage_logs)
        ).one()
        clock = connection.execute(select(ledger_clock)).mappings().one()
        assert connection.execute(select(func.count()).select_from(usage_payloads)).scalar_one() == 400
    assert newest == clock["change_seq"] == rows_in
    assert demo.remove(OPERATOR) == 6000
    assert not demo.is_present()
    with store.read() as connection:
        assert list(connection.scalars(select(usage_logs.c.id))) == [live["id"]]
        assert connection.execute(select(func.count()).select_from(usage_payloads)).scalar_one() == 0
        assert connection.execute(select(ledger_clock.c.epoch)).scalar_one() == clock["epoch"] + 1


@pytest.mark.feature("SET-5")
def test_it_is_loaded_once_and_only_by_a_super_admin(store: Store) -> None:
    demo = Demo(store)
    developer = make_actor("u", "jonas", Role.MASTER_DEVELOPER)
    with pytest.raises(PermissionDenied):
        demo.load(developer, 10)
    with pytest.raises(PermissionDenied):
        demo.remove(developer)
    demo.load(OPERATOR, 10)
    with pytest.raises(Conflict, match="already loaded"):
        demo.load(OPERATOR, 10)


@pytest.mark.feature("SET-5")
def test_a_load_that_is_cut_off_leaves_nothing(store: Store) -> None:
    class PageLeft(BaseException):
        """What Streamlit raises into a page's script when its reader leaves."""

    def leave(written: int, _calls: int) -> None:
        raise PageLeft

    with pytest.raises(PageLeft):
        Demo(store).load(OPERATOR, calls=6_000, progress=leave)
    assert not Demo(store).is_present()
    assert Demo(store).load(OPERATOR, calls=100) == 100


@pytest.mark.feature("SET-5")
@pytest.mark.parametrize("calls", [150, 5_100])
def test_the_newest_calls_have_words(store: Store, calls: int) -> None:
    Demo(store).load(OPERATOR, calls=calls)
    with store.read() as connection:
        assert (connection.scalar(select(func.count()).select_from(usage_payloads)) or 0) >= min(calls, 400)
