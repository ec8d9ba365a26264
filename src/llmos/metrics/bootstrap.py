"""Percentile bootstrap intervals for bits per byte (Efron and Tibshirani 1993, chapters 10, 13).

A unit is what was drawn on its own: a document, or a 2 kB block of a long text. Units are drawn
again with replacement, and the figure is computed again as a ratio of sums. Two models scored on
the same units are compared by pairs: each draw takes the same units of both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmos.errors import UsageError

Floats = npt.NDArray[np.float64]

_DRAWS_AT_A_TIME = 1 << 20  # indices held in memory at once (8 MB)


@dataclass(frozen=True)
class Interval:
    """A figure and its interval, from -inf to inf when one unit leaves the spread unknown."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is outside: the sign of a difference is then established at this level."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        if math.isinf(self.low) or math.isinf(self.high):
            return f"{self.value:.4f} [no interval: one unit]"
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def bootstrap_ratio(
    nll_nats: npt.ArrayLike,
    bytes: npt.ArrayLike,
    samples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Bits per byte, sum(nll) / (ln 2 sum(bytes)), with its percentile interval.

    `nll_nats` and `bytes` are (units,). The same seed gives the same interval. Raises `UsageError`
    for lengths that differ, no units, values that are not finite and units without bytes.
    """
    nll, sizes = _units(nll_nats, "nll_nats"), _units(bytes, "bytes")
    if len(nll) != len(sizes) or len(nll) == 0:
        raise UsageError(
            f"{len(nll)} scores and {len(sizes)} sizes: give one of each for every unit"
        )
    if sizes.min() <= 0:
        raise UsageError(f"unit {int(sizes.argmin())} has {sizes.min():g} bytes: leave it out")
    if not 0 < level < 1 or samples * (1 - level) < 2:
        raise UsageError(
            f"{samples} samples say nothing at level {level}: give more, and 0 < level < 1"
        )
    value = float(nll.sum() / sizes.sum()) / math.log(2)
    if len(nll) == 1:
        return Interval(value, -math.inf, math.inf)
    tail = (1 - level) / 2
    sums = resampled_sums(np.stack([nll, sizes], axis=1), samples, seed)
    low, high = np.quantile(sums[:, 0] / sums[:, 1] / math.log(2), [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def bootstrap_difference(
    nll_a: npt.ArrayLike,
    nll_b: npt.ArrayLike,
    bytes: npt.ArrayLike,
    samples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Bits per byte of a minus those of b on the same units, with its paired interval.

    All arrays are (units,); below zero, a predicts better. Raises `UsageError` like
    `bootstrap_ratio`.
    """
    a, b = _units(nll_a, "nll_a"), _units(nll_b, "nll_b")
    if len(a) != len(b):
        raise UsageError(f"{len(a)} and {len(b)} scores: score both models on the same units")
    # Both ratios have one denominator, so their difference is the ratio of the differences.
    return bootstrap_ratio(a - b, bytes, samples, seed, level)


def _units(values: npt.ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise UsageError(f"{name} has shape {array.shape}: give one number for each unit")
    if not np.isfinite(array).all():
        position = int(np.isfinite(array).argmin())
        raise UsageError(f"{name} of unit {position} is {array[position]}: leave that unit out")
    return array


def resampled_sums(rows: Floats, samples: int, seed: int) -> Floats:
    """Sums of the rows, (units, K), of draws of as many units as there are: (samples, K)."""
    generator = np.random.default_rng(seed)
    n = len(rows)
    at_a_time = max(1, _DRAWS_AT_A_TIME // n)
    sums = np.empty((samples, rows.shape[1]))
    for start in range(0, samples, at_a_time):
        drawn = generator.integers(n, size=(min(at_a_time, samples - start), n))
        own = drawn + n * np.arange(len(drawn))[:, None]
        times = np.bincount(own.ravel(), minlength=drawn.size).reshape(drawn.shape)
        # Not by BLAS, whose last bits depend on the number of threads.
        sums[start : start + len(drawn)] = np.einsum("sn,nk->sk", times.astype(np.float64), rows)
    return sums
