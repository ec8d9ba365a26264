"""Orders without a table: every number once, unlike its neighbours, decided by the seed alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.data.permutation import TABLE, feistel, random_order


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, 0]))


@given(st.integers(2, 3000), st.integers(0, 2**32 - 1))
def test_every_number_stands_in_the_order_once(n: int, seed: int) -> None:
    order = feistel(generator(seed), n)(np.arange(n))
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


@settings(max_examples=30)
@given(st.integers(2, 10**15), st.integers(0, 2**32 - 1))
def test_huge_orders_need_no_table(n: int, seed: int) -> None:
    places = np.unique(np.linspace(0, n - 1, 20, dtype=np.int64))
    found = feistel(generator(seed), n)(places)
    assert len(np.unique(found)) == len(places) and found.min() >= 0 and found.max() < n
    # One place alone, in another order: the same.
    again = feistel(generator(seed), n)
    assert [int(again(places[[i]])[0]) for i in reversed(range(len(places)))] == found[
        ::-1
    ].tolist()


def test_an_order_looks_random() -> None:
    n = TABLE + 12345
    order = random_order(generator(3), n)(np.arange(n))
    places = np.arange(n)
    # Four standard deviations of a correlation of independent numbers.
    limit = 4 / np.sqrt(n)
    assert abs(np.corrcoef(places, order)[0, 1]) < limit
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < limit
    # In sixteenths of the numbers, each sixteenth of the places has as many as chance gives.
    counts = np.histogram2d(places, order, bins=16)[0]
    expected = n / 256
    assert ((counts - expected) ** 2 / expected).sum() < 225 + 5 * np.sqrt(2 * 225)
    assert (order == places).sum() < 10  # one fixed point is to be expected


def test_short_orders_are_numpys_and_long_ones_depend_on_the_seed() -> None:
    n = 1000
    expected = generator(5).permutation(n)
    np.testing.assert_array_equal(random_order(generator(5), n)(np.arange(n)), expected)
    n = TABLE + 1
    first = np.arange(100)
    a, b = (random_order(generator(seed), n)(first) for seed in (1, 2))
    assert not np.array_equal(a, b)


def test_known_orders_stay_as_they_are() -> None:
    # A run begun with one version of NumPy or llmos must go on with another.
    order = feistel(generator(11), 1000)(np.arange(8))
    assert order.tolist() == [907, 65, 196, 987, 168, 432, 234, 331]
