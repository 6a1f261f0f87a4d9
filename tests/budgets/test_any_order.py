"""Whatever happens in whatever order, a window is the sum of what ended in it and holds what is under way."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lib.budgets.holds import Want, reserve_many, settle_many
from lib.budgets.refusal import BudgetRefusal
from lib.clock import make_id
from lib.db.engine import Store
from tests.budgets.budget_rig import FACTS, NOW, Rig
from tests.counts import repeats

pytestmark = pytest.mark.feature("COST-2")
LIMIT = 100
amounts = st.integers(0, 60) | st.none()
steps = st.lists(
    st.tuples(st.just("reserve"), st.lists(amounts, min_size=1, max_size=4)) | st.tuples(st.just("settle"), amounts),
    max_size=20,
)


@settings(max_examples=repeats(20, 1000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_spent_and_held_are_exactly_what_happened(
    store: Store, steps: list[tuple[str, list[int | None] | int | None]]
) -> None:
    """Every example is an app of its own: the others' budgets in the store are not about it."""
    rig, now = Rig(store), NOW
    facts = replace(FACTS, app=make_id())
    budget = rig.budget(limit=LIMIT, subject=facts.app)
    open_calls: dict[str, int] = {}
    spent = 0
    for kind, value in steps:
        now += timedelta(seconds=1)
        with store.write() as connection:
            if kind == "reserve":
                assert isinstance(value, list)
                wants = [Want(make_id(), facts, amount, wished_nano=30) for amount in value]
                for want, answer in zip(wants, reserve_many(connection, wants, now), strict=True):
                    left = LIMIT - spent - sum(open_calls.values())
                    fits = left > 0 if want.amount_nano is None else want.amount_nano <= left
                    assert isinstance(answer, BudgetRefusal) is (want.amount_nano != 0 and not fits)
                    if not isinstance(answer, BudgetRefusal) and want.amount_nano != 0:
                        open_calls[want.log_id] = min(30, left) if want.amount_nano is None else want.amount_nano
            elif open_calls:
                assert not isinstance(value, list)
                log_id, held = open_calls.popitem()
                cost = None if value is None else min(value, held)
                spent += cost or 0
                settle_many(connection, {log_id: cost}, now)
        assert rig.figures(budget) == (spent, sum(open_calls.values()))
        assert spent + sum(open_calls.values()) <= LIMIT
