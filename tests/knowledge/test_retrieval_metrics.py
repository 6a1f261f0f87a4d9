"""The figures of retrieval against values worked out by hand, and the certainty that is told with them."""

from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import InvalidInput
from lib.knowledge.evaluation.ranking_metrics import compare, estimate, parse_metric

pytestmark = pytest.mark.feature("RAG-6")
GRADES = {"a": 3, "b": 1, "c": 2, "z": 0, "y": -1}


@pytest.mark.parametrize(
    ("name", "ranked", "value"),
    [
        ("ndcg@3", ["a", "c", "b"], 1.0),
        ("ndcg@3", ["b", "x", "a"], (1 + 3 / 2) / (3 + 2 / log2(3) + 1 / 2)),
        ("ndcg@2", ["x", "c", "a"], (2 / log2(3)) / (3 + 2 / log2(3))),
        ("ndcg@10", ["z", "y"], 0.0),
        ("recall@2", ["a", "x", "c"], 1 / 3),
        ("recall@3", ["a", "x", "c"], 2 / 3),
        ("precision@5", ["a", "x", "c"], 2 / 5),  # what is not there counts as not relevant
        ("mrr@10", ["z", "x", "b"], 1 / 3),
        ("mrr@2", ["z", "x", "b"], 0.0),
        ("mrr@1", [], 0.0),
    ],
)
def test_a_figure_is_what_it_is_by_hand(name: str, ranked: list[str], value: float) -> None:
    assert parse_metric(name).compute(ranked, GRADES) == pytest.approx(value, abs=1e-12)


@given(st.permutations(["a", "b", "c", "x", "z"]), st.sampled_from(["ndcg@3", "recall@3", "precision@3", "mrr@3"]))
def test_no_order_is_better_than_by_grade(ranked: list[str], name: str) -> None:
    best = parse_metric(name).compute(["a", "c", "b", "z", "x"], GRADES)
    assert 0 <= parse_metric(name).compute(ranked, GRADES) <= best <= 1


@pytest.mark.parametrize("name", ["ndcg", "ndcg@0", "ndcg@101", "map@10", "ndcg@1;"])
def test_what_is_no_figure_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        parse_metric(name)


def test_an_interval_holds_its_mean_and_narrows_with_questions() -> None:
    few, many = estimate([0.0, 1.0] * 10), estimate([0.0, 1.0] * 1000)
    assert few.value == many.value == 0.5
    assert few.low < 0.5 < few.high
    assert many.high - many.low < (few.high - few.low) / 5
    # the mean of 20 throws of a coin: the interval is that of the binomial, 6 to 14 of 20
    assert (few.low, few.high) == pytest.approx((0.3, 0.7), abs=0.051)
    assert estimate([0.25]) == estimate([0.25])
    assert (estimate([0.25]).low, estimate([0.25]).high) == (0.25, 0.25)


def test_the_paired_test_of_five_questions_is_exact() -> None:
    found = compare([0.0] * 5, [0.1, 0.2, 0.3, 0.4, 0.5])
    assert found.value == pytest.approx(0.3)
    assert found.p == 2 / 32  # all signs as they are, or all turned
    assert (found.better, found.worse) == (5, 0)


def test_the_same_answers_differ_by_nothing() -> None:
    found = compare([0.2, 0.4], [0.2, 0.4])
    assert (found.value, found.p, found.better, found.worse) == (0.0, 1.0, 0, 0)


def test_many_questions_tell_a_difference_from_noise() -> None:
    import numpy as np

    draw = np.random.default_rng(3)
    before = draw.uniform(size=300)
    assert compare(list(before), list(before + 0.05 + draw.normal(0, 0.1, 300))).p < 0.001
    assert compare(list(before), list(before + draw.normal(0, 0.1, 300))).p > 0.05


def test_the_test_is_right_as_often_as_it_says() -> None:
    import numpy as np

    draw = np.random.default_rng(11)
    lows = sum(compare([0.0] * 12, list(draw.normal(0, 1, 12))).p <= 0.1 for _ in range(400))
    assert 20 <= lows <= 62  # a tenth of 400, within three and a half standard errors
