"""The bound that is held for a call is never below what it can cost."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.budgets.estimate import DEFAULT_CEILING, compute_completion_ceiling, compute_upper_bound_nano
from lib.providers.chunks import Usage
from lib.providers.prices.rates import Price, Rates, Tier

pytestmark = pytest.mark.feature("COST-2")
AT = datetime(2026, 1, 1, tzinfo=UTC)
rate = st.integers(0, 10**11)
some = st.none() | rate
rates = st.builds(Rates, rate, rate, some, some, some, some, some, some)


@given(rates, st.data(), st.integers(0, 100_000), st.integers(0, 100_000), st.integers(0, 3))
def test_no_usage_within_the_estimate_costs_more(
    of_model: Rates, data: st.DataObject, prompt: int, answer: int, images: int
) -> None:
    price = Price("openai", "m", AT, (Tier(0, of_model),))
    bound = compute_upper_bound_nano(price, prompt, answer, images)
    used = data.draw(st.integers(0, prompt))
    written = data.draw(st.integers(0, used))
    usage = Usage(
        used,
        data.draw(st.integers(0, answer)),
        cache_write_tokens=written,
        cache_write_1h_tokens=data.draw(st.integers(0, written)),
        images=data.draw(st.integers(0, images)),
    )
    assert bound is not None
    assert price.cost_nano(usage) <= bound


def test_a_long_prompts_own_rates_are_used_and_no_price_is_no_bound() -> None:
    price = Price("openai", "m", AT, (Tier(0, Rates(1_000_000, 0)), Tier(1000, Rates(5_000_000, 0))))
    assert compute_upper_bound_nano(price, 1001, 10) == 1001 * 5
    assert compute_upper_bound_nano(None, 1000, 10) is None


@pytest.mark.parametrize(
    ("parameters", "longest", "ceiling"),
    [
        ({}, None, DEFAULT_CEILING),
        ({}, 8192, 8192),
        ({"max_tokens": 100}, 8192, 100),
        ({"max_completion_tokens": 50, "max_tokens": 100}, None, 100),
        ({"max_tokens": 50.5, "n": 2.0}, None, 102),
        ({"max_tokens": math.inf}, 70, 70),
        ({"max_tokens": math.nan, "n": -math.inf}, 70, 70),
        ({"max_tokens": 10**400}, None, 10**9),
        ({"max_tokens": 100, "n": 3}, None, 300),
        ({"max_tokens": 0}, 10, 10),
    ],
)
def test_the_ceiling_of_an_answer(parameters: dict[str, int], longest: int | None, ceiling: int) -> None:
    assert compute_completion_ceiling(parameters, longest) == ceiling


def test_absurd_numbers_stay_within_the_columns() -> None:
    price = Price("openai", "m", AT, (Tier(0, Rates(10**10, 10**10)),))
    ceiling = compute_completion_ceiling({"max_tokens": 10**400, "n": 10**400})
    assert compute_upper_bound_nano(price, 10**12, ceiling) == 10**15
