"""Intervals of figures: of shares, of draws, and of items that all say the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from llmos.errors import UsageError
from llmos.metrics.bootstrap import Floats


def wilson(share: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (1927, without continuity correction) of a share of n items."""
    z2 = z(level) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def is_even(drawn: Sequence[float] | Floats) -> bool:
    """Whether draws of the items tell no spread, but for rounding.

    Of sums and sums of squares a spread of 1e-8 of the figure is left where there is none.
    """
    return float(np.ptp(drawn)) <= 1e-6 * float(np.max(np.abs(drawn)))


def unseen(
    value: float, bounds: tuple[float, float], n: int, level: float
) -> tuple[float, float, str]:
    """The ends of an interval where all of n items say the same, and how they were found.

    Items unlike all those were seen 0 times of n, so Wilson's interval has an end for their share
    (at 95 % about 3.8 / n: the rule of three of Hanley and Lippman-Hand 1983, JAMA 249:1743, with
    two sides). As many items at the bounds move a mean of bounded figures as far as they can, and
    figures of sums about as far. Without bounds nothing is known.
    """
    if not all(map(math.isfinite, bounds)):
        return -math.inf, math.inf, "none: no spread and no bounds"
    share = wilson(0.0, n, level)[1]
    low, high = (value + share * (bound - value) for bound in bounds)
    return low, high, f"no spread: Wilson {level:g} for a share of {bounds[0]:g} to {bounds[1]:g}"


def percentiles(values: Sequence[float] | Floats, level: float) -> tuple[float, float]:
    """The ends between which the middle `level` of the values lies."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def z(level: float) -> float:
    """Standard deviations to either side of the mean that hold `level` of a normal law."""
    return NormalDist().inv_cdf((1 + level) / 2)


def check_samples(samples: int, level: float) -> None:
    """Raises `UsageError` for draws too few to tell the ends of an interval at `level`."""
    if not 0 < level < 1 or samples * (1 - level) < 2:
        raise UsageError(
            f"{samples} samples say nothing at level {level}: give more, and 0 < level < 1"
        )
