"""Traffic priced on other models agrees with plain Python, to the nano-dollar; what could not have moved is counted."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from sqlalchemy import insert

from lib.clock import make_id
from lib.db.engine import Store
from lib.db.tables import providers
from lib.errors import InvalidInput
from lib.providers.models import ModelFacts
from lib.providers.prices.price_book import PriceBook
from lib.providers.prices.price_entries import Prices
from lib.providers.prices.rates import ALWAYS, Price, Rates, Tier, build_plain_price
from lib.statistics import traffic_moves
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Dimension
from lib.statistics.queries import Statistics
from lib.statistics.traffic_moves import Stays
from lib.statistics.whatif import WhatIf
from tests.statistics.ledger_rows import AMIRA, NOON, call, write

pytestmark = pytest.mark.feature("COST-8")
LATER = NOON + timedelta(days=3)
SMALL = [
    build_plain_price("openai", "small", ALWAYS, Rates(123_457, 1_000_001, 12_345, None, None, 2_000_003, 77, 5)),
    Price(
        "openai", "small", LATER,
        (
            Tier(0, Rates(99_999, 500_500, 500)), Tier(1_000, Rates(200_001, 700_001, None, 250_001, 300_001)),
            Tier(0, Rates(49_999, 250_250, 250), "flex"), Tier(1_000, Rates(100_001, 350_001), "flex"),
        ),
    ),
]  # fmt: skip
OTHER = [
    build_plain_price("anthropic", "other", ALWAYS, Rates(3_000_000_000, 15_000_000_000, 300_000_000, 3_750_000_000))
]
LATE = build_plain_price("anthropic", "late", LATER, Rates(1_000, 1_000))


class Facts:
    """What is known of the models of these tests."""

    known = {
        "small": ModelFacts("small", 5_000, 900, ("streaming", "json")),
        "other": ModelFacts("other"),
        "embeds": ModelFacts("embeds", capabilities=("embeddings",)),
    }

    def find(self, kind: str, model: str, provider_id: str | None = None) -> ModelFacts | None:
        return self.known.get(model)


@pytest.fixture
def what_if(store: Store) -> Iterator[WhatIf]:
    statistics = Statistics(store)
    yield WhatIf(store, statistics, PriceBook([*SMALL, *OTHER]), Facts())  # type: ignore[arg-type]
    statistics.close()


def drawn(seed: int) -> list[dict[str, Any]]:
    """Calls of every sort."""
    dice, rows = random.Random(seed), []
    for n in range(300):
        prompt, answer = dice.choice([0, 3, 999, 1000, 1001, dice.randrange(6000)]), dice.randrange(1000)
        read = dice.randrange(prompt + 1)
        written = dice.randrange(prompt - read + 1)
        rows.append(
            call(
                NOON + timedelta(hours=dice.randrange(150), microseconds=n),
                provider=dice.choice(["openai", "anthropic"]), app=f"app{n % 3}", is_final=dice.random() < 0.9,
                prompt_tokens=prompt, completion_tokens=answer,
                cache_read_tokens=dice.choice([None, read]), cache_write_tokens=written,
                cache_write_1h_tokens=dice.choice([None, dice.randrange(written + 1)]),
                reasoning_tokens=dice.choice([None, dice.randrange(answer + 1)]), images=dice.choice([None, 0, 0, 2]),
                parameters=dice.choice([{}, {}, {"tools": [{}]}, {"response_format": {"type": "json_object"}}]),
                cost_nano_usd=dice.choice([None, 0, dice.randrange(10**12)]),
                saved_nano_usd=dice.choice([None] * 9 + [5]),
                service_tier=dice.choice(["", "default", "flex", "priority"]),
            )
        )  # fmt: skip
    return rows


def oracle(rows: list[dict[str, Any]], app: str) -> dict[str, Any]:
    """What moving an app to `small` comes to, the plain way."""
    sums: dict[str, Any] = {"calls": 0, "cost": 0, "unpriced": 0, "stays": dict.fromkeys(Stays, 0), "kept": 0}
    openai, cached, fresh = 0, 0, 0
    for row in rows:
        if row["app"] != app or row["saved_nano_usd"] is not None:
            continue
        read, written, long = (row[f"cache_{n}_tokens"] or 0 for n in ("read", "write", "write_1h"))
        prompt, answer, thought = row["prompt_tokens"], row["completion_tokens"], row["reasoning_tokens"] or 0
        why = (
            Stays.TOO_LONG if prompt + answer > 5_000 or answer > 900
            else Stays.NO_IMAGES if row["images"]
            else Stays.NO_TOOLS if "tools" in row["parameters"]
            else None
        )  # fmt: skip
        if why:
            sums["stays"][why] += row["is_final"]
            sums["kept"] += row["cost_nano_usd"] or 0
            continue
        if row["cost_nano_usd"] is None:
            sums["unpriced"] += row["is_final"]
            continue
        late = row["started_at"] >= LATER
        served = 2 if late and row["service_tier"] == "flex" else 0  # others are served in the plain way
        rates = SMALL[late].tiers[served + (late and prompt > 1_000)].rates
        read_at = rates.input if rates.cache_read is None else rates.cache_read
        write_at = rates.input if rates.cache_write is None else rates.cache_write
        long_at = write_at if rates.cache_write_1h is None else rates.cache_write_1h
        think_at = rates.output if rates.reasoning is None else rates.reasoning
        said = (answer - thought) * rates.output + thought * think_at
        with_hits = (prompt - read - written) * rates.input + read * read_at + (written - long) * write_at
        with_hits = _whole(with_hits + long * long_at + said) + (rates.request or 0)
        without = _whole(prompt * rates.input + said) + (rates.request or 0)
        sums["calls"] += row["is_final"]
        sums["cost"] += row["cost_nano_usd"]
        if row["provider"] == "openai":
            openai += with_hits
        else:
            cached, fresh = cached + with_hits, fresh + without
    return sums | {"low": openai + min(cached, fresh), "high": openai + max(cached, fresh)}


def _whole(millionths: int) -> int:
    return int((Decimal(millionths) / 10**6).to_integral_value(ROUND_HALF_EVEN))


@pytest.mark.parametrize("seed", range(4))
def test_random_traffic_costs_what_plain_python_says(store: Store, what_if: WhatIf, seed: int) -> None:
    rows = drawn(seed)
    write(store, *rows)
    found = what_if.compare(AMIRA, StatisticsFilter(), ["openai/small"])
    assert {move.value for move in found} == {"app0", "app1", "app2"}
    for move in found:
        wanted = oracle(rows, move.value or "")
        assert (move.calls, move.cost_nano, move.unpriced_calls) == (
            wanted["calls"],
            wanted["cost"],
            wanted["unpriced"],
        )
        assert (move.low_nano, move.high_nano) == (wanted["low"], wanted["high"])
        assert {why: count for why, count in wanted["stays"].items() if count} == {
            w: c for w, c in move.stays.items() if c
        }
        assert move.stays_nano == wanted["kept"]
        assert move.saved_nano == (move.cost_nano - move.high_nano, move.cost_nano - move.low_nano)


def test_halves_are_rounded_to_even_as_calls_are(store: Store) -> None:
    book = PriceBook([build_plain_price("openai", "half", ALWAYS, Rates(500_000, 1_000_000))])
    statistics = Statistics(store)
    write(store, *(call(prompt_tokens=n, completion_tokens=0) for n in (1, 3, 5)))
    [move] = WhatIf(store, statistics, book, Facts()).compare(AMIRA, StatisticsFilter(), ["openai/half"])  # type: ignore[arg-type]
    assert move.low_nano == 0 + 2 + 2  # 0.5, 1.5 and 2.5
    price = book.price("openai", "half", NOON)
    assert price is not None
    assert move.low_nano == sum(price.cost_nano(_usage(n)) or 0 for n in (1, 3, 5))
    statistics.close()


def test_prices_and_prompts_too_large_for_64_bits_stay_exact(store: Store) -> None:
    rates, statistics = Rates(600_000_000_001, 900_000_000_007), Statistics(store)
    book = PriceBook([build_plain_price("openai", "dear", ALWAYS, rates)])
    row = call(prompt_tokens=2_000_000_001, completion_tokens=147_483_649)
    write(store, row)
    [move] = WhatIf(store, statistics, book, Facts()).compare(AMIRA, StatisticsFilter(), ["openai/dear"])  # type: ignore[arg-type]
    assert move.high_nano == _whole(2_000_000_001 * rates.input + 147_483_649 * rates.output)
    statistics.close()


def _usage(prompt: int) -> Any:
    from lib.providers.chunks import Usage

    return Usage(prompt, 0)


def test_what_cannot_be_compared_is_counted_and_in_no_sum(store: Store, what_if: WhatIf) -> None:
    write(
        store,
        call(cost_nano_usd=7),
        call(prompt_tokens=None, completion_tokens=None, cost_nano_usd=None),
        call(cost_nano_usd=None),
        call(cost_nano_usd=5, cost_status="partial"),  # what it cost beside that would be no saving
        call(prompt_tokens=None, completion_tokens=None, cost_nano_usd=0, status="error"),  # never came to a model
    )
    write(store, call(cost_nano_usd=90, calls=40))  # an imported sum
    [move] = what_if.compare(AMIRA, StatisticsFilter(), ["openai/small"])
    assert (move.calls, move.cost_nano, move.unpriced_calls, move.uncounted_calls) == (1, 7, 2, 41)
    assert move.no_cache_word_calls == 1


def test_calls_before_a_price_of_the_teams_own_stay(store: Store) -> None:
    book, statistics = PriceBook([], store), Statistics(store)
    Prices(store, book).set(AMIRA, LATE)
    write(store, call(LATER - timedelta(seconds=1), cost_nano_usd=100), call(LATER, cost_nano_usd=10))
    [move] = WhatIf(store, statistics, book, Facts()).compare(AMIRA, StatisticsFilter(), ["anthropic/late"])  # type: ignore[arg-type]
    assert (move.calls, move.cost_nano) == (1, 10)
    assert (move.stays, move.stays_nano) == ({Stays.NO_PRICE: 1}, 100)
    statistics.close()


def test_each_app_on_the_model_chosen_for_it(store: Store, what_if: WhatIf) -> None:
    write(store, call(app="a", cost_nano_usd=5_000_000), call(app="b", cost_nano_usd=0), call(app="c"))
    plan = what_if.plan(AMIRA, StatisticsFilter(), {"a": "openai/small", "b": "anthropic/other"})
    assert [(move.value, move.model) for move in plan] == [("a", "openai/small"), ("b", "anthropic/other")]
    whole = traffic_moves.sum_moves(plan)
    assert whole.calls == 2
    assert whole.saved_nano[1] == sum(move.saved_nano[1] for move in plan)
    table = traffic_moves.build_table(plan, Dimension.APP)
    assert table.cost_usd.tolist() == [Decimal("0.005"), Decimal(0)]
    assert list(traffic_moves.build_table([], Dimension.APP)) == list(table)


def test_who_may_not_see_others_prices_their_own_alone(store: Store, what_if: WhatIf) -> None:
    write(store, call(cost_nano_usd=5), call(user_id="somebody-else", cost_nano_usd=100))
    me = replace(AMIRA, permissions=frozenset())
    [move] = what_if.compare(me, StatisticsFilter(), ["openai/small"])
    assert (move.calls, move.cost_nano) == (1, 5)


@pytest.mark.parametrize("name", ["small", "openai/", "nobody/small", "openai/unheard-of"])
def test_a_model_that_nobody_prices_is_refused(what_if: WhatIf, name: str) -> None:
    with pytest.raises(InvalidInput):
        what_if.compare(AMIRA, StatisticsFilter(), [name])


def test_a_range_ends_where_it_ends(store: Store, what_if: WhatIf) -> None:
    write(store, call(NOON, cost_nano_usd=1), call(NOON + timedelta(days=1), cost_nano_usd=2))
    where = StatisticsFilter(datetime(2026, 10, 23, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC))
    [move] = what_if.compare(AMIRA, where, ["openai/small"], Dimension.PROVIDER)
    assert (move.value, move.calls, move.cost_nano) == ("openai", 1, 2)


def test_models_of_the_registered_kinds_that_answer_in_words_are_offered(store: Store) -> None:
    entries = [
        build_plain_price("openai", name, ALWAYS, Rates(1_000, 1_000))
        for name in ("small", "embeds", "ft:small", "gpt*")
    ]
    statistics = Statistics(store)
    asked = WhatIf(store, statistics, PriceBook([*entries, *OTHER]), Facts())  # type: ignore[arg-type]
    assert asked.offered(AMIRA) == []
    with store.write() as connection:
        values = {"name": "ours", "kind": "openai", "created_at": NOON, "updated_at": NOON}
        connection.execute(insert(providers).values(id=make_id(), base_url="", headers={}, **values))
    assert asked.offered(AMIRA) == ["openai/small"]
    statistics.close()
