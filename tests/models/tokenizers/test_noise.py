"""Noise on counts: the right distribution, the right bound of a document, the right epsilon."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.models.pieces import count_pieces
from llmos.models.tokenizers.noise import Noise, count_bounded, discrete_laplace
from llmos.recipe import TokenizerSection

TEXTS = ["one two two three", "two three four", "three", "中文模型 one"]


def probability(x: int, rate: float) -> float:
    """Discrete Laplace (Canonne et al. 2020, definition 28)."""
    a = math.exp(-rate)
    return (1 - a) / (1 + a) * a ** abs(x)


@pytest.mark.parametrize("rate", [Fraction(1, 2), Fraction(3, 2), Fraction(1, 7)])
def test_noise_has_the_exact_distribution(rate: Fraction) -> None:
    random, draws = Random(7), 20_000
    found = Counter(discrete_laplace(rate, random) for _ in range(draws))
    # Chi-square over the values expected 20 times or more, the rest in one bin.
    bins = [x for x in range(-99, 100) if probability(x, float(rate)) * draws >= 20]
    expected = [probability(x, float(rate)) * draws for x in bins]
    seen = [found[x] for x in bins]
    expected.append(draws - sum(expected))
    seen.append(draws - sum(seen))
    statistic = sum((s - e) ** 2 / e for s, e in zip(seen, expected, strict=True))
    freedom = len(bins)
    # Wilson-Hilferty: chi-square quantile at 1 - 1e-6 (z = 4.75)
    limit = freedom * (1 - 2 / (9 * freedom) + 4.75 * math.sqrt(2 / (9 * freedom))) ** 3
    assert statistic < limit


def test_a_wrong_scale_would_be_seen() -> None:
    random, rate = Random(1), Fraction(1, 4)
    sizes = [abs(discrete_laplace(rate, random)) for _ in range(20_000)]
    a = math.exp(-0.25)
    mean, second = 2 * a / (1 - a * a), 2 * a / (1 - a) ** 2
    assert sum(sizes) / len(sizes) == pytest.approx(
        mean, abs=5 * math.sqrt(second - mean**2) / math.sqrt(len(sizes))
    )


def test_a_text_counts_for_at_most_so_many_pieces_each_once() -> None:
    counts = count_bounded(TEXTS, 100)
    assert counts[" three"] == 2 and counts["three"] == 1 and counts[" two"] == 1
    assert set(counts) == set(count_pieces(TEXTS))
    few = count_bounded(TEXTS, 2)
    assert sum(few.values()) == 2 + 2 + 1 + 2


@given(st.lists(st.text("ab ", max_size=12), max_size=6), st.text("ab ", max_size=12))
def test_one_text_more_moves_the_counts_by_at_most_the_bound(texts: list[str], more: str) -> None:
    before, after = count_bounded(texts, 3), count_bounded([more, *texts], 3)
    assert sum(abs(after[piece] - before[piece]) for piece in {*before, *after}) <= 3
    assert all(after[piece] - before[piece] <= 1 for piece in after)


def hockey_stick(p: dict[object, float], q: dict[object, float], epsilon: float) -> float:
    """The least delta of (epsilon, delta): sum of max(0, p - e^epsilon q)."""
    return sum(max(0.0, p[o] - math.exp(epsilon) * q.get(o, 0.0)) for o in p)


def released(count: int, noise: Noise) -> dict[object, float]:
    """Distribution of what is seen of one piece: its noisy count, or nothing."""
    if count == 0:
        return {None: 1.0}
    rate, tau = float(noise.rate), noise.threshold
    seen: dict[object, float] = {
        n: probability(n - count, rate) for n in range(tau, tau + math.ceil(45 / rate))
    }
    seen[None] = 1 - sum(seen.values())
    return seen


@pytest.mark.parametrize(("epsilon", "delta"), [(1.0, 1e-2), (2.0, 1e-3), (0.5, 1e-1)])
@pytest.mark.parametrize("shared", [(0, 0), (0, 1), (3, 9), (0, 40)])
def test_epsilon_and_delta_hold_for_every_pair_of_neighbours(
    epsilon: float, delta: float, shared: tuple[int, int]
) -> None:
    # A document of two pieces comes or goes; `shared` other documents have its pieces too. The
    # exact privacy loss of all that is seen, by enumeration.
    noise = Noise(epsilon, delta, pieces=2)
    with_it = [released(count + 1, noise) for count in shared]
    without = [released(count, noise) for count in shared]

    def joint(parts: list[dict[object, float]]) -> dict[object, float]:
        return {(a, b): parts[0][a] * parts[1][b] for a, b in product(*parts)}

    for p, q in ((joint(with_it), joint(without)), (joint(without), joint(with_it))):
        assert hockey_stick(p, q, epsilon) <= delta * (1 + 1e-9) + 1e-12


def test_the_threshold_is_the_least_that_keeps_delta() -> None:
    for epsilon, delta, pieces in ((1.0, 1e-6, 1), (8.0, 1e-6, 100), (0.1, 1e-3, 5)):
        noise = Noise(epsilon, delta, pieces)
        rate = epsilon / pieces

        def leaks(tau: int, rate: float = rate, pieces: int = pieces) -> float:
            a = math.exp(-rate)
            tail = a ** (tau - 1) / (1 + a)
            assert tail == pytest.approx(
                sum(probability(x, rate) for x in range(tau - 1, tau + math.ceil(45 / rate)))
            )
            return tail * pieces

        assert leaks(noise.threshold) <= delta < leaks(noise.threshold - 1)


def test_noise_comes_from_the_system_and_is_other_noise_every_time() -> None:
    noise = Noise(0.5, 1e-6, 10)
    counts = {f"piece{number}": 100 for number in range(50)} | {"gone": 0}
    first, second = noise.add(counts), noise.add(counts)
    assert first.keys() == second.keys() == counts.keys() - {"gone"}
    assert first != second
    assert noise.add(counts, Random(1)) == noise.add(counts, Random(1))


def test_a_recipe_without_epsilon_asks_for_no_noise() -> None:
    assert Noise.of(TokenizerSection()) is None
    assert Noise.of(TokenizerSection(noise_epsilon=2.0)) == Noise(2.0, 1e-6, 100)
