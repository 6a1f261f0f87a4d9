"""litellm's Router as a chooser: its four strategies work, and nothing of it stays hooked into litellm."""

import asyncio
from collections import Counter
from collections.abc import Collection

import pytest

from lib.providers.adapters.router import Pool, Pools, RouterDeployment
from lib.providers.adapters.via_litellm import load_litellm

pytestmark = [pytest.mark.feature("CFG-7"), pytest.mark.filterwarnings("default")]  # litellm's deprecations


def choices(pool: Pool, left: Collection[str], count: int = 200) -> Counter[str]:
    async def run() -> list[str]:
        return [await pool.choose(left) for _ in range(count)]

    return Counter(asyncio.run(run()))


def test_weights_are_shares_also_among_those_left() -> None:
    pool = Pool("simple-shuffle", (RouterDeployment("a", 8), RouterDeployment("b", 2), RouterDeployment("c", 2)))
    found = choices(pool, ["a", "b", "c"], 600)
    assert 300 < found["a"] < 480
    assert min(found["b"], found["c"]) > 40
    assert set(choices(pool, ["b", "c"])) == {"b", "c"}
    assert choices(pool, ["c"], 3) == {"c": 3}


def test_the_least_busy_is_the_one_with_the_fewest_on_their_way() -> None:
    pool = Pool("least-busy", (RouterDeployment("a"), RouterDeployment("b")))
    pool.started("a")
    assert choices(pool, ["a", "b"], 5) == {"b": 5}
    pool.started("b")
    pool.started("b")
    assert choices(pool, ["a", "b"], 5) == {"a": 5}
    asyncio.run(pool.ended("b", None))
    asyncio.run(pool.ended("b", 0.1))
    assert choices(pool, ["a", "b"], 5) == {"b": 5}


def test_the_fastest_is_the_one_whose_first_token_came_soonest() -> None:
    pool = Pool("latency-based-routing", (RouterDeployment("a"), RouterDeployment("b")))
    for seconds in (0.9, 1.1):
        asyncio.run(pool.ended("a", seconds))
    asyncio.run(pool.ended("b", 0.2))
    assert choices(pool, ["a", "b"], 20) == {"b": 20}
    assert choices(pool, ["a"], 3) == {"a": 3}


def test_the_cheapest_counts_free_as_free_and_unknown_as_dear() -> None:
    pool = Pool(
        "cost-based-routing",
        (RouterDeployment("dear", cost=2e-5), RouterDeployment("free", cost=0.0), RouterDeployment("unknown")),
    )
    assert choices(pool, ["dear", "free", "unknown"], 5) == {"free": 5}
    assert choices(pool, ["dear", "unknown"], 5) == {"dear": 5}


def test_no_hook_stays_in_litellm_and_a_pool_is_kept() -> None:
    litellm = load_litellm()
    lists = ("callbacks", "input_callback", "success_callback", "_async_success_callback", "failure_callback")
    before = {name: list(getattr(litellm, name)) for name in lists}

    async def run() -> None:
        pools = Pools()
        candidates = (RouterDeployment("a"), RouterDeployment("b"))
        assert await pools.get("least-busy", candidates) is await pools.get("least-busy", candidates)
        assert await pools.get("least-busy", candidates) is not await pools.get("simple-shuffle", candidates)

    asyncio.run(run())
    assert {name: getattr(litellm, name) for name in lists} == before
