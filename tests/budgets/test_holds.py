"""Reserving, settling, releasing and sweeping: every call falls under every budget about it, exactly once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import func, insert, select

from lib.access.permissions import OPERATOR
from lib.budgets.holds import HOLD_LASTS, Held, Want, release, reserve_many, settle_many
from lib.budgets.refusal import BudgetRefusal
from lib.clock import make_id
from lib.db.engine import Store
from lib.db.tables import budget_holds, open_calls
from tests.budgets.budget_rig import DOLLAR, FACTS, NOW, Rig
from tests.statistics.ledger_rows import call, write

pytestmark = pytest.mark.feature("COST-2")


@pytest.fixture
def rig(store: Store) -> Rig:
    return Rig(store)


def holds(rig: Rig) -> int:
    with rig.store.read() as connection:
        return connection.scalar(select(func.count()).select_from(budget_holds)) or 0


def test_a_hold_becomes_what_the_call_cost(rig: Rig) -> None:
    budget = rig.budget()
    log_id, held = rig.reserve(3 * DOLLAR)
    assert held == (budget.budget.id,)
    assert rig.figures(budget) == (0, 3 * DOLLAR)
    rig.settle(log_id, 2 * DOLLAR)
    assert rig.figures(budget) == (2 * DOLLAR, 0)
    rig.settle(log_id, 2 * DOLLAR)  # tried again after a failed commit: counted once
    assert rig.figures(budget) == (2 * DOLLAR, 0)
    assert holds(rig) == 0


def test_what_does_not_fit_is_refused_with_everything_one_needs_to_know(rig: Rig) -> None:
    budget = rig.budget()
    rig.settle(rig.reserve(9 * DOLLAR)[0], 8 * DOLLAR)
    rig.reserve(DOLLAR)
    _, refusal = rig.reserve(DOLLAR + 1)
    assert isinstance(refusal, BudgetRefusal)
    assert refusal.title == "The call does not fit the app budget tests for October 2026."
    assert (
        refusal.why
        == "$8.00 of $10.00 is spent, $1.00 is held for calls under way, and this call may cost up to $1.00."
    )
    assert refusal.fix.startswith("Try again when some of them have ended")
    assert (refusal.retry_after, refusal.error().retry_after) == (5, 5)
    assert rig.figures(budget) == (8 * DOLLAR, DOLLAR)
    assert isinstance(rig.reserve(DOLLAR)[1], tuple)  # exactly what is left still fits


def test_what_is_spent_comes_back_with_the_next_window_and_what_is_too_large_never(rig: Rig) -> None:
    budget = rig.budget(block_unpriced=True)
    rig.settle(rig.reserve(9 * DOLLAR)[0], 10 * DOLLAR - 1_000)
    _, refusal = rig.reserve(DOLLAR)
    assert isinstance(refusal, BudgetRefusal)
    assert refusal.why == "$9.999999 of $10 is spent, and this call may cost up to $1.00."
    assert "1 Nov 2026, 00:00 UTC" in refusal.fix
    assert refusal.retry_after == (datetime(2026, 11, 1, tzinfo=UTC) - NOW).total_seconds()
    for amount in (10 * DOLLAR + 1, None):
        _, never = rig.reserve(amount)
        assert isinstance(never, BudgetRefusal)
        assert "2026" not in never.fix
        assert never.error().retry_after is None
    assert rig.figures(budget) == (10 * DOLLAR - 1_000, 0)


def test_a_refusal_says_the_windows_end_in_the_readers_zone(rig: Rig) -> None:
    from zoneinfo import ZoneInfo

    rig.budget(limit=3 * DOLLAR)
    rig.settle(rig.reserve(2 * DOLLAR)[0], 2 * DOLLAR)
    _, refusal = rig.reserve(2 * DOLLAR)
    assert isinstance(refusal, BudgetRefusal)
    assert "1 Nov 2026, 01:00 CET" in refusal.in_zone(ZoneInfo("Europe/Berlin")).fix


def test_one_full_budget_of_several_refuses_and_nothing_is_held_on_the_others(rig: Rig) -> None:
    wide = rig.budget(limit=100 * DOLLAR, scope="global", subject="")
    narrow = rig.budget(limit=DOLLAR, scope="key", subject=rig.key("key-1"))
    _, refusal = rig.reserve(2 * DOLLAR)
    assert isinstance(refusal, BudgetRefusal)
    assert refusal.budget_id == narrow.budget.id
    assert rig.figures(wide) == rig.figures(narrow) == (0, 0)
    assert holds(rig) == 0


@pytest.mark.parametrize(
    ("scope", "changed"),
    [
        ("provider", {"provider": "anthropic"}),
        ("configuration", {"configuration_id": "configuration-2"}),
        ("app", {"app": "other"}),
        ("user", {"user_id": None}),
        ("key", {"api_key_id": "key-2"}),
    ],
)
def test_a_budget_counts_the_calls_of_its_subject_only(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, scope: str, changed: dict[str, Any]
) -> None:
    subjects = {"provider": "openai", "configuration": "configuration-1", "app": "tests", "user": "user-1"}
    subject = subjects.get(scope, "key-1")
    monkeypatch.setattr("lib.budgets.budgets.resolve", lambda connection, actor, scope, name: name)
    budget = rig.budget(scope=scope, subject=subject)
    rig.settle(rig.reserve(DOLLAR)[0], DOLLAR)
    other, held = rig.reserve(DOLLAR, facts=replace(FACTS, **changed))
    assert held == ()
    rig.settle(other, DOLLAR)
    assert rig.figures(budget) == (DOLLAR, 0)


def test_free_calls_are_never_stopped_and_hold_nothing(rig: Rig) -> None:
    rig.budget(limit=DOLLAR)
    rig.settle(rig.reserve(DOLLAR)[0], DOLLAR)
    assert isinstance(rig.reserve(1)[1], BudgetRefusal)
    assert rig.reserve(0)[1] == ()
    assert holds(rig) == 0


def test_a_model_without_a_price_is_let_through_and_its_cost_counts_when_it_becomes_known(rig: Rig) -> None:
    budget = rig.budget(limit=DOLLAR)
    log_id, held = rig.reserve(None)
    assert held == (budget.budget.id,)
    assert rig.figures(budget) == (0, 0)
    rig.settle(log_id, 7)  # the provider itself said what it cost
    unknown, _ = rig.reserve(None)
    rig.settle(unknown, None)
    assert rig.figures(budget) == (7, 0)
    assert rig.budgets.get(OPERATOR, budget.budget.id, NOW).now.unpriced_calls == 1


def test_a_budget_may_stop_models_without_a_price(rig: Rig) -> None:
    rig.budget(block_unpriced=True)
    _, refusal = rig.reserve(None)
    assert isinstance(refusal, BudgetRefusal)
    assert "takes no model without a price" in refusal.title
    assert rig.reserve(0)[1] == ()


def test_a_used_up_budget_stops_models_without_a_price_too(rig: Rig) -> None:
    budget = rig.budget(limit=1_000_000)
    calls = 0
    while isinstance((answer := rig.reserve(None))[1], tuple):
        calls += 1
        rig.settle(answer[0], 13_000_000)  # the provider itself said what it cost
    assert calls == 1
    refusal = answer[1]
    assert isinstance(refusal, BudgetRefusal)
    assert (refusal.is_used_up, refusal.title) == (True, "The app budget tests for October 2026 is used up.")
    assert refusal.retry_after == (datetime(2026, 11, 1, tzinfo=UTC) - NOW).total_seconds()
    assert rig.reserve(0)[1] == (), "what is free passes"
    (verdict,) = rig.budgets.check(OPERATOR, FACTS, None, NOW)
    assert verdict.refusal is not None
    assert verdict.refusal.title == refusal.title
    assert rig.figures(budget) == (13_000_000, 0)


def test_a_call_of_unknown_cost_holds_what_is_wished_or_what_is_left(rig: Rig) -> None:
    budget, soft = rig.budget(limit=10), rig.budget(scope="global", subject="", limit=5, is_hard=False)

    def reserve(wished: int) -> BudgetRefusal | Held:
        with rig.store.write() as connection:
            return reserve_many(connection, [Want(make_id(), FACTS, None, wished)], NOW)[0]

    assert reserve(7) == (budget.budget.id,)
    assert rig.figures(budget) == (0, 7)
    assert reserve(7) == (budget.budget.id,)
    assert rig.figures(budget) == (0, 10)
    assert rig.figures(soft) == (0, 5)
    refusal = reserve(0)
    assert isinstance(refusal, BudgetRefusal)
    assert (refusal.waits_for_calls, refusal.retry_after) == (True, 5)
    assert "nobody knows what this call would cost" in refusal.why


def test_a_soft_budget_counts_and_never_stops(rig: Rig) -> None:
    budget = rig.budget(limit=DOLLAR, is_hard=False)
    for _ in range(3):
        rig.settle(rig.reserve(DOLLAR)[0], DOLLAR)
    assert rig.figures(budget) == (3 * DOLLAR, 0)
    assert rig.budgets.get(OPERATOR, budget.budget.id, NOW).state == "over"


def test_calls_that_open_together_are_decided_one_after_the_other(rig: Rig) -> None:
    budget = rig.budget(limit=3 * DOLLAR)
    wants = [Want(make_id(), FACTS, DOLLAR) for _ in range(5)] + [Want(make_id(), FACTS, 0)]
    with rig.store.write() as connection:
        answers = reserve_many(connection, wants, NOW)
    assert [isinstance(answer, BudgetRefusal) for answer in answers] == [False] * 3 + [True] * 2 + [False]
    assert rig.figures(budget) == (0, 3 * DOLLAR)
    with rig.store.write() as connection:
        assert settle_many(connection, {want.log_id: DOLLAR // 2 for want in wants}, NOW) == 3
    assert rig.figures(budget) == (3 * DOLLAR // 2, 0)


def test_a_rolled_back_transaction_holds_nothing(rig: Rig) -> None:
    budget = rig.budget()
    with rig.store.engine.connect() as connection:
        reserve_many(connection, [Want(make_id(), FACTS, DOLLAR)], NOW)
        connection.rollback()
    assert rig.figures(budget) == (0, 0)
    assert holds(rig) == 0


def test_a_call_that_was_never_sent_gives_its_money_back(rig: Rig) -> None:
    budget = rig.budget()
    log_id, _ = rig.reserve(DOLLAR)
    with rig.store.write() as connection:
        release(connection, log_id, NOW)
    assert rig.figures(budget) == (0, 0)


def test_a_new_window_begins_by_itself_and_a_hold_settles_where_it_was_taken(rig: Rig) -> None:
    budget = rig.budget(limit=2 * DOLLAR)
    rig.settle(rig.reserve(DOLLAR)[0], DOLLAR)
    late, _ = rig.reserve(DOLLAR, datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC))
    november = datetime(2026, 11, 1, tzinfo=UTC)
    assert isinstance(rig.reserve(2 * DOLLAR, november)[1], tuple)
    rig.settle(late, DOLLAR, november)
    assert rig.figures(budget, november) == (0, 2 * DOLLAR)
    past = rig.budgets.history(OPERATOR, budget.budget.id)[1]
    assert (past.window.start, past.spent_nano, past.held_nano) == (datetime(2026, 10, 1, tzinfo=UTC), 2 * DOLLAR, 0)


@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_a_clock_that_steps_back_opens_no_budget_again(rig: Rig, period: str) -> None:
    budget = rig.budget(limit=DOLLAR, period=period)
    rig.settle(rig.reserve(DOLLAR)[0], DOLLAR)
    back = NOW - timedelta(days=40)
    assert isinstance(rig.reserve(1, back)[1], BudgetRefusal)
    rig.budgets.update(OPERATOR, budget.budget.id, limit_nano=DOLLAR, now=back)
    assert isinstance(rig.reserve(1, back)[1], BudgetRefusal)


def test_an_expired_hold_is_ended_by_what_the_ledger_knows(rig: Rig) -> None:
    budget = rig.budget()
    ended, _ = rig.reserve(DOLLAR)
    running, _ = rig.reserve(DOLLAR)
    rig.reserve(DOLLAR)  # its process was killed before it wrote anything else
    write(rig.store, call(NOW, id=ended, cost_nano_usd=DOLLAR // 4))
    open_row = {name: value for name, value in call(NOW, id=running).items() if name in open_calls.c}
    with rig.store.write() as connection:
        connection.execute(insert(open_calls), open_row | {"owner": "process-1"})
    assert rig.sweep(NOW + HOLD_LASTS / 2) == 0
    late = NOW + HOLD_LASTS + timedelta(seconds=1)
    assert rig.sweep(late) == 2
    assert rig.figures(budget) == (DOLLAR // 4, DOLLAR)
    assert rig.sweep(late) == 0
    rig.settle(running, DOLLAR // 2, late)
    assert rig.figures(budget) == (3 * DOLLAR // 4, 0)
