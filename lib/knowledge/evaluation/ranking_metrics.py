"""How good a ranking is, as trec_eval counts it, and how sure that is. Pure: lists and numbers in, numbers out.

A question has judged things (documents or passages), each with a grade; what is not judged counts as not relevant, and
so does a grade of zero or less. Gains are linear: a grade's own height (Järvelin & Kekäläinen, 2002; trec_eval's
`ndcg_cut`). Intervals are the bootstrap's percentiles over questions (Efron, 1979); the paired test flips the sign of
each question's difference at random (Smucker, Allan & Carterette, CIKM 2007). Both are seeded: the same answers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lib.errors import InvalidInput
from lib.patterns import compile_pattern

if TYPE_CHECKING:
    import numpy as np

DEFAULT = ("ndcg@10", "recall@10", "precision@5", "mrr@10")
DEEPEST = 100
_SEED = 7
_DRAWS = 2_000
_FLIPS = 10_000
_NAME = compile_pattern(r"^(ndcg|recall|precision|mrr)@([1-9]\d{0,2})$")


class MetricKind(StrEnum):
    """What is counted."""

    NDCG = "ndcg"
    RECALL = "recall"
    PRECISION = "precision"
    MRR = "mrr"


@dataclass(frozen=True)
class RankingMetric:
    """One figure over the first `k` of a ranking; between 0 and 1."""

    kind: MetricKind
    k: int

    def __str__(self) -> str:
        return f"{self.kind}@{self.k}"

    def compute(self, ranked: Sequence[str], grades: Mapping[str, int]) -> float:
        """The figure of one question; `ranked` has each thing once, `grades` at least one above zero."""
        first = ranked[: self.k]
        relevant = {key for key, grade in grades.items() if grade > 0}
        match self.kind:
            case MetricKind.NDCG:
                best = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[: self.k]
                return _compute_gain([max(grades.get(key, 0), 0) for key in first]) / _compute_gain(best)
            case MetricKind.RECALL:
                return sum(key in relevant for key in first) / len(relevant)
            case MetricKind.PRECISION:
                return sum(key in relevant for key in first) / self.k
            case MetricKind.MRR:
                return next((1 / rank for rank, key in enumerate(first, start=1) if key in relevant), 0.0)


@dataclass(frozen=True)
class Estimate:
    """A mean over questions with its 95 % interval."""

    value: float
    low: float
    high: float
    questions: int


@dataclass(frozen=True)
class PairedDifference:
    """Mean of B minus A over the same questions, its interval, and how likely chance alone gives as much (`p`)."""

    value: float
    low: float
    high: float
    p: float
    better: int  # questions for which B is better
    worse: int


def parse_metric(name: str) -> RankingMetric:
    """`ndcg@10` as a value; InvalidInput when there is no such figure."""
    match = _NAME.match(name.strip().lower())
    if match is None or int(match[2]) > DEEPEST:
        names = ", ".join(f"{kind}@K" for kind in MetricKind)
        raise InvalidInput(f"There is no figure {name}.", "", f"Choose of {names} with K up to {DEEPEST}.", "metric")
    return RankingMetric(MetricKind(match[1]), int(match[2]))


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of a question's figures with the bootstrap's interval; of one question there is none but itself."""
    import numpy as np

    figures = np.asarray(values, dtype=float)
    low, high = _compute_interval(figures)
    return Estimate(float(figures.mean()), low, high, len(figures))


def compare(first: Sequence[float], second: Sequence[float]) -> PairedDifference:
    """The difference over pairs of figures of the same questions, with the randomisation test's two-sided p."""
    import numpy as np

    differences = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    low, high = _compute_interval(differences)
    observed = abs(differences.mean())
    nonzero = differences[differences != 0]  # equal ones stay equal whatever their sign
    as_far = 0
    flips = 0
    if len(nonzero):
        if len(nonzero) <= math.log2(_FLIPS):  # few enough to try every way
            signs = np.asarray(
                [[1 - 2 * (n >> bit & 1) for bit in range(len(nonzero))] for n in range(2 ** len(nonzero))]
            )
        else:
            signs = np.random.default_rng(_SEED).choice((-1, 1), size=(_FLIPS, len(nonzero)))
        sums = np.abs(signs @ nonzero) / len(differences)
        as_far = int((sums >= observed - 1e-12).sum())
        flips = len(signs)
        if flips == _FLIPS:  # the way it came out is one of the ways
            as_far = as_far + 1
            flips = flips + 1
    p = as_far / flips if flips else 1.0
    return PairedDifference(
        float(differences.mean()), low, high, p, int((differences > 0).sum()), int((differences < 0).sum())
    )


def _compute_gain(grades: Sequence[int]) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, start=1))


def _compute_interval(values: "np.ndarray") -> tuple[float, float]:
    import numpy as np

    drawn = np.random.default_rng(_SEED).integers(0, len(values), size=(_DRAWS, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)
