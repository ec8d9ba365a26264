"""Two models on the same items: how their figures differ, and whether that could be chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmos.errors import UsageError
from llmos.metrics.bootstrap import Floats, resampled_sums
from llmos.metrics.intervals import check_samples, is_even, percentiles, unseen
from llmos.metrics.score import Metric, Quantity, rows_of


@dataclass(frozen=True)
class Difference:
    """How much the value of a exceeds that of b on the same items.

    low, high: paired bootstrap interval of the difference (Koehn 2004, W04-3250); wins: the share
    of its draws in which a is the better one, ties counted half; p: two-sided, by approximate
    randomisation (Riezler and Maxwell 2005, W05-0908), of no difference.
    """

    metric: str
    settings: str
    a: float
    b: float
    low: float
    high: float
    wins: float
    p: float
    n: int

    @property
    def value(self) -> float:
        return self.a - self.b


def compare(
    metric: Metric,
    a: Sequence[str],
    b: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """How two models differ on the same items. Raises `UsageError` as `score` does."""
    rows_a, rows_b = rows_of(metric, a, references), rows_of(metric, b, references)
    return compare_rows(metric, rows_a, rows_b, samples=samples, seed=seed, level=level)


def compare_rows(
    quantity: Quantity,
    a: Floats,
    b: Floats,
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """How two models differ whose rows, (N, K) each, are of the same items in one order."""
    if len(a) != len(b) or len(a) == 0:
        raise UsageError(f"{len(a)} and {len(b)} items: score both models on the same items")
    check_samples(samples, level)
    width = a.shape[1]
    values = quantity.value(a.sum(axis=0)), quantity.value(b.sum(axis=0))
    drawn = resampled_sums(np.concatenate([a, b], axis=1), samples, seed)
    differences = np.array([quantity.value(s[:width]) - quantity.value(s[width:]) for s in drawn])
    better = differences if quantity.higher_is_better else -differences
    low, high = percentiles(differences, level) if len(a) > 1 else (-math.inf, math.inf)
    if len(a) > 1 and is_even(differences):
        least, most = quantity.bounds
        low, high, _ = unseen(values[0] - values[1], (least - most, most - least), len(a), level)
    return Difference(
        quantity.name, quantity.settings, *values, low, high,
        float(((better > 0) + 0.5 * (better == 0)).mean()),
        _randomisation(quantity, a, b, samples, seed), len(a),
    )  # fmt: skip


def _randomisation(quantity: Quantity, a: Floats, b: Floats, samples: int, seed: int) -> float:
    """How often models that swap their outputs at random differ as much as these do."""
    generator = np.random.default_rng(seed)
    sums_a, sums_b, change = a.sum(axis=0), b.sum(axis=0), b - a
    least = abs(quantity.value(sums_a) - quantity.value(sums_b)) * (1 - 1e-9)
    as_much = 0
    for _ in range(samples):
        moved = change[generator.integers(2, size=len(a), dtype=np.bool_)].sum(axis=0)
        found = quantity.value(sums_a + moved) - quantity.value(sums_b - moved)
        as_much += abs(found) >= least
    return (as_much + 1) / (samples + 1)
