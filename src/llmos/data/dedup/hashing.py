"""64-bit hashes of sequences, of many at once, equal on every machine. Not against an adversary."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

_BASE = 0x9FB21C651E98DF25  # odd, so that it has an inverse modulo 2^64
_INVERSE = pow(_BASE, -1, 1 << 64)
_GOLDEN = 0x9E3779B97F4A7C15


def mix(values: Hashes) -> Hashes:
    """Spread each value over all bits, in place: the finalizer of SplitMix64.

    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, with the
    constants of Stafford's variant 13. It is a bijection.
    """
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def random_numbers(count: int) -> Hashes:
    """The first numbers of SplitMix64 from seed 0: the same in every version of every library."""
    return mix(np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN))


def hash_ranges(values: npt.NDArray[np.unsignedinteger], starts: Places, ends: Places) -> Hashes:
    """The hash of each `values[start:end]`: a polynomial modulo 2^64 of them, mixed.

    By the difference of two prefix sums (Karp and Rabin 1987), so ranges may overlap and be of any
    length. Ranges of different lengths have different hashes if no value is 0.
    """
    powers, inverses = _powers(1 << len(values).bit_length())
    sums = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values * powers[: len(values)], out=sums[1:])
    return mix((sums[ends] - sums[starts]) * inverses[starts])


@cache
def _powers(count: int) -> tuple[Hashes, Hashes]:
    """The powers 0, 1, ... of the base and of its inverse."""
    powers, inverses = (np.full(count, base, np.uint64) for base in (_BASE, _INVERSE))
    powers[0] = inverses[0] = 1
    return np.cumprod(powers), np.cumprod(inverses)
