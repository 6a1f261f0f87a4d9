"""The sliding minute: no 60 seconds hold more than the limit, whatever the pattern of calls; waits tell the truth."""

import random

import pytest

from lib.access.rate_counter import RateCounter

pytestmark = pytest.mark.feature("GATE-3")
START = 1_800_000_000.0


@pytest.mark.parametrize("seed", range(20))
def test_no_sixty_seconds_hold_more_than_the_limit(seed: int) -> None:
    chance, now, row = random.Random(seed), START, list[list[int]]()
    limit, token_limit = chance.randint(1, 30), chance.randint(50, 400)
    admitted = list[tuple[float, int]]()
    for _ in range(600):
        now += chance.choice((0.0, 0.01, 0.4, 1.0, 7.0, 31.0))
        tokens = chance.randint(0, 60)
        counter = RateCounter(row, now)
        if counter.wait_for_requests(limit) == 0 and counter.wait_for_tokens(token_limit, tokens) == 0:
            counter.take(tokens)
            admitted.append((now, tokens))
        row = counter.as_row()
    assert admitted
    for first, _ in admitted:
        window = [tokens for at, tokens in admitted if first <= at < first + 60]
        assert len(window) <= limit
        assert sum(window) <= token_limit


@pytest.mark.parametrize("seed", range(20))
def test_after_the_wait_it_fits_and_not_a_second_before(seed: int) -> None:
    chance, now, counter = random.Random(seed), START, RateCounter([], START)
    while counter.wait_for_requests(10) == 0:
        counter.take(chance.randint(1, 50))
        now += chance.random() * 3
        counter = RateCounter(counter.as_row(), now)
    row, wait = counter.as_row(), counter.wait_for_requests(10)
    assert wait is not None
    assert 0 < wait <= 61
    assert RateCounter(row, now + wait).wait_for_requests(10) == 0
    assert RateCounter(row, now + wait - 0.001).wait_for_requests(10) != 0
    wait = counter.wait_for_tokens(counter.tokens, 40)
    assert wait is not None
    assert RateCounter(row, now + wait).wait_for_tokens(counter.tokens, 40) == 0


def test_more_than_the_whole_limit_never_fits() -> None:
    assert RateCounter([], START).wait_for_tokens(100, 101) is None
    assert RateCounter([], START).wait_for_tokens(100, 100) == 0


def test_a_row_stays_short_and_everything_resets() -> None:
    counter = RateCounter([], START)
    for step in range(1000):
        counter = RateCounter(counter.as_row(), START + step * 0.5)
        counter.take(1)
    assert all(len(part) <= 61 for part in counter.as_row())
    assert RateCounter(counter.as_row(), START + 499.5 + counter.reset_s).requests == 0


def test_an_estimate_is_replaced_where_it_was_counted() -> None:
    counter = RateCounter([], START)
    counter.take(1000)
    row = counter.as_row()
    for at, used, left in ((START + 30, 400, 400), (START + 30, 1500, 1500)):
        again = RateCounter(row, at)
        again.correct(START, used - 1000)
        assert (again.tokens, again.requests) == (left, 1)
    assert RateCounter(row, START + 61).tokens == 0
    late = RateCounter(row, START + 300)
    late.correct(START, 500)
    assert late.tokens == 500
    late.correct(START, -200)
    assert late.tokens == 500


def test_a_lagging_clock_counts_into_the_newest_second_and_a_wrong_one_does_not_block() -> None:
    ahead = RateCounter([], START + 2)
    ahead.take(0)
    behind = RateCounter(ahead.as_row(), START)
    behind.take(0)
    assert behind.as_row() == [[int(START) + 2], [2], [0]]
    wrong = RateCounter([[int(START) + 86_400], [10], [0]], START)
    assert wrong.requests == 10
    assert wrong.wait_for_requests(10) == 61
