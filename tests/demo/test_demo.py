"""A sample year is realistic, repeatable, marked, and leaves without a trace."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from lib.access.permissions import OPERATOR, Role, actor_for
from lib.calls.closing import take_sequence
from lib.db.engine import Store
from lib.db.tables import ledger_clock, usage_logs, usage_payloads
from lib.demo import Demo, demo_user_names
from lib.demo.year import rows
from lib.errors import Conflict, PermissionDenied
from lib.providers.price_book import PriceBook

NOW = datetime(2026, 11, 22, 14, 22, 28, tzinfo=UTC)


def drawn(calls: int = 3000, seed: int = 7) -> list[dict[str, Any]]:
    return list(rows(calls, seed, NOW, PriceBook()))


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
    assert {row["user_id"] for row in year} == set(demo_user_names())
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
def test_the_same_seed_gives_the_same_year() -> None:
    assert drawn() == drawn()
    assert drawn(seed=8) != drawn()


@pytest.mark.feature("SET-5")
def test_loading_marks_every_row_and_removing_leaves_only_the_live_ones(store: Store) -> None:
    demo, steps = Demo(store), []
    live = drawn(1)[-1] | {"batch_id": None, "id": "00000000-0000-7000-8000-000000000001"}
    with store.write() as connection:
        connection.execute(insert(usage_logs), [live | {"change_seq": take_sequence(connection, 1)}])
    assert not demo.present()
    assert demo.load(OPERATOR, 6000, progress=lambda done, total: steps.append((done, total))) == 6000
    assert demo.present()
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
    assert not demo.present()
    with store.read() as connection:
        assert list(connection.scalars(select(usage_logs.c.id))) == [live["id"]]
        assert connection.execute(select(func.count()).select_from(usage_payloads)).scalar_one() == 0
        assert connection.execute(select(ledger_clock.c.epoch)).scalar_one() == clock["epoch"] + 1


@pytest.mark.feature("SET-5")
def test_it_is_loaded_once_and_only_by_a_super_admin(store: Store) -> None:
    demo = Demo(store)
    developer = actor_for("u", "jonas", Role.MASTER_DEVELOPER)
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
    assert not Demo(store).present()
    assert Demo(store).load(OPERATOR, calls=100) == 100


@pytest.mark.feature("SET-5")
@pytest.mark.parametrize("calls", [150, 5_100])
def test_the_newest_calls_have_words(store: Store, calls: int) -> None:
    Demo(store).load(OPERATOR, calls=calls)
    with store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(usage_payloads)) >= min(calls, 400)
