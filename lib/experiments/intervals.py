"""How sure a figure is: 95 % intervals of shares, means and paired differences.

Shares have Wilson's score interval (Wilson 1927), which holds for few answers and for all-or-none. Means have the
percentile bootstrap (Efron 1979) of 2,000 resamples with a fixed seed: the same answers give the same interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lib.playground.run import compute_wilson_interval

_RESAMPLES = 2_000
_SEED = 20_261_101


@dataclass(frozen=True)
class Figure:
    """A value and its interval, over `count` values; None where there are none."""

    value: float | None
    low: float | None
    high: float | None
    count: int


def compute_share(values: Sequence[float]) -> Figure:
    """Compute the share of ones among ones and zeros, with Wilson's interval."""
    if not values:
        return Figure(None, None, None, 0)
    share = sum(values) / len(values)
    return Figure(share, *compute_wilson_interval(share, len(values)), len(values))


def compute_mean(values: Sequence[float]) -> Figure:
    """Compute the mean of any numbers with its bootstrap interval; one value alone has no interval."""
    import numpy as np

    if not values:
        return Figure(None, None, None, 0)
    if len(values) == 1:
        return Figure(float(values[0]), None, None, 1)
    sample = np.asarray(values, dtype=float)
    random = np.random.default_rng(_SEED)
    means = np.concatenate(  # in parts: memory stays flat
        [sample[random.integers(0, len(sample), (100, len(sample)))].mean(axis=1) for _ in range(_RESAMPLES // 100)]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    return Figure(float(sample.mean()), float(low), float(high), len(sample))
