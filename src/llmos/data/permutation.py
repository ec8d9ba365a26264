"""Random orders of 0 ... n - 1: drawn as a table, or computed where a table would be too large."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Order = Callable[[Integers], Integers]
"""From places in the order to what stands there."""

TABLE = 1 << 20
"""Longest order that is drawn as a table, of 8 bytes an entry; longer ones take no memory."""
ROUNDS = 8
"""Of the Feistel network. Luby and Rackoff 1988 (doi:10.1137/0217022) need 4 to hide it from an
observer; in small halves more of them mix better."""


def random_order(random: np.random.Generator, n: int) -> Order:
    """An order of 0 ... n - 1, decided by the state of `random`."""
    if n <= TABLE:
        table = random.permutation(n)
        return lambda places: np.asarray(table[places], np.int64)
    return feistel(random, n)


def feistel(random: np.random.Generator, n: int) -> Order:
    """An order of 0 ... n - 1 (n from 2 on) by a keyed permutation, without a table.

    A Feistel network permutes the numbers of as many bits as n has; those that come to lie beyond
    n go through it again (cycle walking, Black and Rogaway 2002, doi:10.1007/3-540-45760-7_9),
    once on average or less.
    """
    bits = max(2, (n - 1).bit_length())
    low_bits = bits // 2
    widths = (np.uint64(bits - low_bits), np.uint64(low_bits))
    keys = random.integers(0, 1 << 64, ROUNDS, np.uint64)

    def permuted(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        high_width, low_width = widths
        high, low = numbers >> low_width, numbers & _ones(low_width)
        for key in keys:  # the halves change places, and with them their widths
            high, low = low, high ^ (_mixed(low ^ key) & _ones(high_width))
            high_width, low_width = low_width, high_width
        return (high << low_width) | low

    def order(places: Integers) -> Integers:
        found = permuted(places.astype(np.uint64))
        while (beyond := found >= n).any():
            found[beyond] = permuted(found[beyond])
        return found.astype(np.int64)

    return order


def _ones(width: np.uint64) -> np.uint64:
    return (np.uint64(1) << width) - np.uint64(1)


def _mixed(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele et al. 2014, doi:10.1145/2660193.2660195)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
