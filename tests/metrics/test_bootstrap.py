from __future__ import annotations

import math

import numpy as np
import pytest

from llmos.errors import UsageError
from llmos.metrics import bootstrap
from llmos.metrics.bootstrap import Interval, bootstrap_difference, bootstrap_ratio
from llmos.metrics.perplexity import bits_per_byte


def units(n: int, seed: int, rate: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Negative log-likelihoods of about `rate` nats per byte, and byte counts of documents."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(200, 4000, n)
    return sizes * rate + generator.normal(0, 0.1, n) * sizes, sizes


def by_loops(
    a: np.ndarray, b: np.ndarray, sizes: np.ndarray, samples: int, seed: int
) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(samples):
        draw = [int(generator.integers(len(a))) for _ in range(len(a))]
        total = int(sum(sizes[i] for i in draw))
        found.append(
            bits_per_byte(sum(a[i] for i in draw), total)
            - bits_per_byte(sum(b[i] for i in draw), total)
        )
    found.sort()
    return found[int(0.025 * samples)], found[int(0.975 * samples)]


def test_against_a_brute_force_bootstrap() -> None:
    (a, sizes), (noise, _) = units(30, 0), units(30, 1, 0.0)
    b = a * 1.02 + noise * 0.2
    fast = bootstrap_difference(a, b, sizes, samples=20_000, seed=5)
    low, high = by_loops(a, b, sizes, samples=4000, seed=7)
    width = high - low
    assert fast.value == pytest.approx(
        bits_per_byte(a.sum(), sizes.sum()) - bits_per_byte(b.sum(), sizes.sum())
    )
    assert abs(fast.low - low) < 0.06 * width and abs(fast.high - high) < 0.06 * width


def test_the_same_draws_give_the_same_figures_one_by_one() -> None:
    a, sizes = units(12, 0)
    b, _ = units(12, 1)
    fast = bootstrap_difference(a, b, sizes, samples=50, seed=3)
    draws = np.random.default_rng(3).integers(12, size=(50, 12))
    slow = [
        bits_per_byte(a[d].sum(), sizes[d].sum()) - bits_per_byte(b[d].sum(), sizes[d].sum())
        for d in draws
    ]
    low, high = np.quantile(slow, [0.025, 0.975])
    assert [fast.low, fast.high] == pytest.approx([low, high])


def test_one_columns_interval_is_its_difference_to_nothing() -> None:
    a, sizes = units(40, 0)
    own = bootstrap_ratio(a, sizes, samples=500, seed=1)
    assert own == bootstrap_difference(a, np.zeros(40), sizes, samples=500, seed=1)
    assert own.value == pytest.approx(bits_per_byte(a.sum(), sizes.sum()))
    assert own.low < own.value < own.high


def test_pairing_narrows_the_interval() -> None:
    a, sizes = units(60, 0)
    b = a + 0.01 * sizes
    paired = bootstrap_difference(b, a, sizes, samples=1000)
    own = bootstrap_ratio(a, sizes, samples=1000)
    assert paired.excludes_zero and paired.value == pytest.approx(0.01 / math.log(2))
    assert paired.high - paired.low < (own.high - own.low) / 100
    other_way = bootstrap_difference(a, b, sizes, samples=1000)
    assert [other_way.low, other_way.high] == pytest.approx([-paired.high, -paired.low])


def test_the_seed_decides_and_memory_chunks_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    a, sizes = units(25, 0)
    one = bootstrap_ratio(a, sizes, samples=999, seed=4)
    assert one == bootstrap_ratio(list(a), list(sizes), samples=999, seed=4)
    assert one != bootstrap_ratio(a, sizes, samples=999, seed=5)
    monkeypatch.setattr(bootstrap, "_DRAWS_AT_A_TIME", 60)
    assert one == bootstrap_ratio(a, sizes, samples=999, seed=4)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    true = 0.8 / math.log(2)
    covered = {0.95: 0, 0.5: 0}
    for seed in range(400):
        a, sizes = units(60, 1000 + seed)
        for level in covered:
            interval = bootstrap_ratio(a, sizes, samples=300, seed=seed, level=level)
            covered[level] += interval.low <= true <= interval.high
    # Binomial standard errors are 1.1 % and 2.5 %; percentile intervals are a little narrow.
    assert 0.91 <= covered[0.95] / 400 <= 0.98
    assert 0.42 <= covered[0.5] / 400 <= 0.58


def test_equal_models_differ_by_chance_only() -> None:
    found = 0
    for seed in range(300):
        a, sizes = units(50, seed)
        b = units(50, 5000 + seed, 0.0)[0] + 0.8 * sizes
        found += bootstrap_difference(a, b, sizes, samples=300, seed=seed).excludes_zero
    assert 0.02 <= found / 300 <= 0.10


def test_one_unit_has_no_interval_and_says_so() -> None:
    interval = bootstrap_difference([100.0], [90.0], [50])
    assert (interval.low, interval.high) == (-math.inf, math.inf)
    assert interval.value == pytest.approx(10 / 50 / math.log(2))
    assert not interval.excludes_zero and "one unit" in str(interval)
    assert str(Interval(0.12345, 0.1, 0.2)) == "0.1235 [0.1000, 0.2000]"
    assert Interval(-2, -3, -1).excludes_zero and not Interval(0.1, 0.0, 1).excludes_zero


@pytest.mark.parametrize(
    ("a", "b", "sizes", "match"),
    [
        ([1, 2], [1], [1, 2], "2 and 1 scores"), ([1, 2], [1, 2], [1], "2 scores and 1 sizes"),
        ([], [], [], "0 scores"), ([1, math.nan], [1, 2], [1, 2], "nll_a of unit 1 is nan"),
        ([1, 2], [1, 2], [3, 0], "unit 1 has 0 bytes"), ([[1, 2]], [1], [1], r"shape \(1, 2\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(
    a: list[float], b: list[float], sizes: list[int], match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        bootstrap_difference(a, b, sizes)


def test_too_few_samples_are_refused() -> None:
    for samples, level in ((10, 0.95), (1000, 1.0), (0, 0.5)):
        with pytest.raises(UsageError, match="samples"):
            bootstrap_ratio([1, 2], [1, 2], samples=samples, level=level)
