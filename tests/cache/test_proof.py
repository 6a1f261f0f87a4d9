"""A bound is what Clopper and Pearson say, looked at only at sizes fixed beforehand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.cache.proof import CONFIDENCE, compute_sample_sizes, compute_upper_bound, prove
from tests.counts import repeats

pytestmark = pytest.mark.feature("CACHE-5")


def test_the_sizes_are_those_of_the_tables() -> None:
    assert compute_sample_sizes(10) == (299, 473, 628)
    assert compute_sample_sizes(1)[0] == 2_995


@given(st.integers(1, 2_000), st.integers(0, 20))
def test_the_bound_is_where_so_few_errors_are_as_likely_as_one_in_twenty(samples: int, errors: int) -> None:
    bound = compute_upper_bound(errors, samples)
    if errors >= samples:
        assert bound == 1.0
        return
    likely = sum(math.comb(samples, k) * bound**k * (1 - bound) ** (samples - k) for k in range(errors + 1))
    assert likely == pytest.approx(1 - CONFIDENCE, rel=1e-3)
    assert compute_upper_bound(errors, samples + 1) <= bound


def test_nothing_is_proved_between_the_looks() -> None:
    assert not prove([False] * 298, 10).is_proved
    assert prove([False] * 298, 10).next_size == 299
    assert prove([False] * 299, 10).is_proved
    one_wrong = [True] + [False] * 400
    assert not prove(one_wrong, 10).is_proved, "299 with an error prove nothing, nor do 401"
    assert prove([True] + [False] * 472, 10).is_proved
    assert not prove([True] * 3 + [False] * 625, 10).is_proved


def test_errors_after_the_look_take_the_proof_away() -> None:
    assert not prove([False] * 299 + [True] * 4, 10).is_proved


def test_a_judges_own_error_is_added() -> None:
    assert not prove([False] * 299, 10, judge_error=0.005).is_proved
    assert prove([False] * 4_000, 10, judge_error=0.005).is_proved


def test_a_rate_above_the_bound_is_proved_seldom() -> None:
    """At twice the promised rate fewer than one in twenty streams may get through, at the looks together."""
    import random

    dice = random.Random(7)
    streams = repeats(200, 2_000)
    proved = sum(prove([dice.random() < 0.02 for _ in range(700)], 10).is_proved for _ in range(streams))
    assert proved / streams < 0.05
