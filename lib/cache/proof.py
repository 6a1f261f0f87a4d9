"""How often the semantic tier would be wrong: an upper bound from labelled samples, by Clopper and Pearson.

Of n would-be hits drawn at random, k were labelled different. The largest error rate p for which so few wrong ones are
still as likely as 5 % is the bound: sum over i ≤ k of C(n, i) pⁱ (1 − p)ⁿ⁻ⁱ = 0.05 (C. J. Clopper, E. S. Pearson,
"The use of confidence or fiducial limits illustrated in the case of the binomial", 1934). It is looked at only at
sizes fixed beforehand, for looking after each sample until it fits would prove anything: for a bound of 1 % at 299
samples without an error, at 473 with one, at 628 with two. Where a judge labelled, its own error is added.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

CONFIDENCE = 0.95
_MOST_ERRORS = 2
_LATER_SIZES = (4_000, 8_000, 16_000)  # where a judge's error asks for more than the least


def compute_upper_bound(errors: int, samples: int) -> float:
    """The largest error rate (0 to 1) that the samples leave likely; 1 where there are none."""
    if samples <= 0 or errors >= samples:
        return 1.0
    low = errors / samples
    high = 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _compute_likelihood(errors, samples, middle) > 1 - CONFIDENCE else (low, middle)
    return high


@cache
def compute_sample_sizes(bound_per_mille: int) -> tuple[int, ...]:
    """The numbers of samples at which a bound is looked at: the k-th proves it with k errors, k = 0, 1, 2."""
    sample_counts = []
    samples = 1
    for errors in range(_MOST_ERRORS + 1):
        low = samples
        high = 1
        while compute_upper_bound(errors, high) > bound_per_mille / 1000:
            high *= 2
        while low < high:
            middle = (low + high) // 2
            low, high = (
                (low, middle) if compute_upper_bound(errors, middle) <= bound_per_mille / 1000 else (middle + 1, high)
            )
        samples = low
        sample_counts.append(samples)
    return tuple(sample_counts)


@dataclass(frozen=True)
class Proof:
    """What the samples of a pool say. `bound` is the proved error rate, None before there is a proof.

    `next_size`: how many samples there have to be for the next look; None where it can't be proved with these any more.
    """

    samples: int
    errors: int
    judge_error: float
    bound: float | None
    next_size: int | None

    @property
    def is_proved(self) -> bool:
        """Whether answers may be served without asking a judge."""
        return self.bound is not None


def prove(labels: Sequence[bool], bound_per_mille: int, judge_error: float = 0.0) -> Proof:
    """Look at labels in the order they came, True for a wrong one; `judge_error`: an upper bound of its own, 0 to 1."""
    limit = bound_per_mille / 1000
    errors = sum(labels)
    for size in (*compute_sample_sizes(bound_per_mille), *_LATER_SIZES):
        if len(labels) < size:
            return Proof(len(labels), errors, judge_error, None, size)
        total = compute_upper_bound(sum(labels[:size]), size) + judge_error
        if total <= limit:
            still_holds = errors <= limit * len(labels)  # what came after the look must not speak against it
            return Proof(len(labels), errors, judge_error, total if still_holds else None, None)
    return Proof(len(labels), errors, judge_error, None, None)


def _compute_likelihood(errors: int, samples: int, rate: float) -> float:
    """The likelihood of at most so many errors."""
    if rate <= 0:
        return 1.0
    if rate >= 1:
        return 0.0
    log_rate = math.log(rate)
    log_rest = math.log1p(-rate)
    return sum(
        math.exp(
            math.lgamma(samples + 1)
            - math.lgamma(count + 1)
            - math.lgamma(samples - count + 1)
            + count * log_rate
            + (samples - count) * log_rest
        )
        for count in range(errors + 1)
    )
