"""How good a ranking is, as trec_eval counts it, and how sure that is. Pure: lists and numbers in, numbers out.

A question has judged things (documents or passages), each with a grade; what is not judged counts as not relevant, and
so does a grade of zero or less. Gains are linear: a grade's own height (Järvelin & Kekäläinen, 2002; trec_eval's
`ndcg_cut`). Intervals are the bootstrap's percentiles over questions (Efron, 1979); the paired test flips the sign of
each question's difference at random (Smucker, Allan & Carterette, CIKM 2007). Both are seeded: the same answers.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lib.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

DEFAULT = ("ndcg@10", "recall@10", "precision@5", "mrr@10")
DEEPEST = 100
_SEED = 7
_DRAWS = 2_000
_FLIPS = 10_000
_NAME = re.compile(r"^(ndcg|recall|precision|mrr)@([1-9]\d{0,2})$")


class Kind(StrEnum):
    """What is counted."""

    NDCG = "ndcg"
    RECALL = "recall"
    PRECISION = "precision"
    MRR = "mrr"


@dataclass(frozen=True)
class Metric:
    """One figure over the first `k` of a ranking; between 0 and 1."""

    kind: Kind
    k: int

    def __str__(self) -> str:
        return f"{self.kind}@{self.k}"

    def of(self, ranked: Sequence[str], grades: Mapping[str, int]) -> float:
        """The figure of one question; `ranked` has each thing once, `grades` at least one above zero."""
        first = ranked[: self.k]
        relevant = {thing for thing, grade in grades.items() if grade > 0}
        match self.kind:
            case Kind.NDCG:
                best = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[: self.k]
                return _gain([max(grades.get(thing, 0), 0) for thing in first]) / _gain(best)
            case Kind.RECALL:
                return sum(thing in relevant for thing in first) / len(relevant)
            case Kind.PRECISION:
                return sum(thing in relevant for thing in first) / self.k
            case Kind.MRR:
                return next((1 / rank for rank, thing in enumerate(first, start=1) if thing in relevant), 0.0)


@dataclass(frozen=True)
class Estimate:
    """A mean over questions with its 95 % interval."""

    value: float
    low: float
    high: float
    questions: int


@dataclass(frozen=True)
class Difference:
    """Mean of B minus A over the same questions, its interval, and how likely chance alone gives as much (`p`)."""

    value: float
    low: float
    high: float
    p: float
    better: int  # questions for which B is better
    worse: int


def metric(name: str) -> Metric:
    """`ndcg@10` as a value; InvalidInput when there is no such figure."""
    match = _NAME.match(name.strip().lower())
    if match is None or int(match[2]) > DEEPEST:
        known = ", ".join(f"{kind}@K" for kind in Kind)
        raise InvalidInput(f"There is no figure {name}.", "", f"Choose of {known} with K up to {DEEPEST}.", "metric")
    return Metric(Kind(match[1]), int(match[2]))


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of a question's figures with the bootstrap's interval; of one question there is none but itself."""
    import numpy as np

    found = np.asarray(values, dtype=float)
    low, high = _interval(found)
    return Estimate(float(found.mean()), low, high, len(found))


def compare(before: Sequence[float], after: Sequence[float]) -> Difference:
    """The difference over pairs of figures of the same questions, with the randomisation test's two-sided p."""
    import numpy as np

    differences = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    low, high = _interval(differences)
    seen = abs(differences.mean())
    told = differences[differences != 0]  # equal ones stay equal whatever their sign
    as_far = 0
    flips = 0
    if len(told):
        if len(told) <= math.log2(_FLIPS):  # few enough to try every way
            signs = np.asarray([[1 - 2 * (n >> bit & 1) for bit in range(len(told))] for n in range(2 ** len(told))])
        else:
            signs = np.random.default_rng(_SEED).choice((-1, 1), size=(_FLIPS, len(told)))
        sums = np.abs(signs @ told) / len(differences)
        as_far = int((sums >= seen - 1e-12).sum())
        flips = len(signs)
        if flips == _FLIPS:  # the way it came out is one of the ways
            as_far = as_far + 1
            flips = flips + 1
    p = as_far / flips if flips else 1.0
    return Difference(
        float(differences.mean()), low, high, p, int((differences > 0).sum()), int((differences < 0).sum())
    )


def _gain(grades: Sequence[int]) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, start=1))


def _interval(values: "np.ndarray") -> tuple[float, float]:
    import numpy as np

    drawn = np.random.default_rng(_SEED).integers(0, len(values), size=(_DRAWS, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)
