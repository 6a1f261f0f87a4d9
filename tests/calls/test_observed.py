"""A provider that counts more than was held for is told, and the next holds of that model are for what it counted."""

from pathlib import Path

import pytest

from lib.calls.observed_usage import TAG, Excess, ObservedUsage
from lib.db.engine import Store
from lib.money import NANO_PER_USD
from lib.services import Services
from lib.settings import Settings
from tests.calls.rig import AMIRA, Rig

pytestmark = pytest.mark.feature("COST-2")
LIAR = "lorem:5+priced+usage:7,8200"  # with a ceiling of 100


@pytest.fixture
def rig(settings: Settings) -> Rig:
    return Rig(settings)


def held_at_most(services: Services, rig: Rig, script: str) -> int:
    quote = services.calls.quote(rig.request(script, parameters={"max_tokens": 100}))
    assert quote.high_nano is not None
    return quote.high_nano


def test_an_answer_beyond_its_ceiling_is_tagged_and_held_for_from_then_on(rig: Rig) -> None:
    calls = rig.services.calls
    before = held_at_most(rig.services, rig, LIAR)
    view = calls.run(rig.request(LIAR, parameters={"max_tokens": 100}))
    (row,) = rig.rows(view.call_id)
    assert row["tags"][TAG] == "answer 8,200 tokens of at most 100"
    assert row["cost_nano_usd"] > before
    assert held_at_most(rig.services, rig, LIAR) >= row["cost_nano_usd"]
    assert held_at_most(rig.services, rig, "lorem:5+priced") == before, "of that model alone"
    again = calls.run(rig.request(LIAR, parameters={"max_tokens": 100}))
    assert TAG not in rig.rows(again.call_id)[0]["tags"], "it is within what is held now"


def test_under_a_hard_budget_one_lie_costs_one_answer(rig: Rig) -> None:
    limit = NANO_PER_USD // 10
    rig.services.budgets.create(AMIRA, scope="app", subject="tests", period="day", limit_nano=limit)
    costs = []
    for _ in range(4):
        view = rig.services.calls.run(rig.request(LIAR, parameters={"max_tokens": 100}))
        costs.append((view.status, view.cost_nano_usd))
    assert [status for status, _ in costs] == ["ok", "refused", "refused", "refused"], costs


def test_a_prompt_beyond_its_bound_is_told_too(rig: Rig) -> None:
    view = rig.run("lorem:5+priced+usage:9000,5")
    (row,) = rig.rows(view.call_id)
    assert str(row["tags"][TAG]).startswith("prompt 9,000 tokens of at most ")
    honest = rig.run("lorem:5+priced")
    assert TAG not in rig.rows(honest.call_id)[0]["tags"]


def test_a_small_excess_is_a_factor_and_a_large_one_a_sum() -> None:
    assert Excess(prompt_percent=150).of_prompt(1_000) == 1_500
    assert Excess(prompt_more=7_000).of_prompt(1_000) == 8_000
    assert Excess(answer_percent=101).of_answer(10) == 11, "rounded up"
    assert Excess(10**9, answer_percent=10**9).of_prompt(10**9) == 10**9


def test_other_processes_learn_of_it(rig: Rig, store: Store) -> None:
    mine, other, late = ObservedUsage(), ObservedUsage(), ObservedUsage()
    mine._learn("acme", "m", Excess(answer_more=8_100), ["answer"])
    mine.sync(store)
    other._learn("acme", "m", Excess(prompt_percent=150), ["prompt"])
    other.sync(store)
    late.sync(store)
    mine.sync(store)
    for one in (mine, other, late):
        assert one.excess("acme", "m").of_answer(100) == 8_200
    assert other.excess("acme", "m").of_prompt(100) == late.excess("acme", "m").of_prompt(100) == 150
    assert late.excess("acme", "other").of_answer(100) == 100


def test_it_is_forgotten_when_its_time_is_over(store: Store, tmp_path: Path) -> None:
    from lib.calls import observed_usage
    from lib.db import installation

    with store.write() as connection:
        installation.write(connection, observed_usage.SETTING, {"acme/m": [100, 0, 100, 50, 1.0], "odd": "x"})
    late = ObservedUsage()
    late.sync(store)
    assert late.excess("acme", "m").of_answer(100) == 100
