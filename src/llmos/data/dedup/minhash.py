"""MinHash with bands: a text in 14 numbers, of which near-duplicates share at least one.

Two texts whose sets of shingles have the Jaccard similarity s share a band with a probability of
1 - (1 - s^8)^14: 0.05 at s = 0.5, 0.56 at 0.7, 0.77 at 0.75, 0.92 at 0.8, 0.9996 at 0.9 (Broder
1997; Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", 3.4). As in FineWeb, whoever
shares a band is taken for a near-duplicate; nothing is compared after that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from llmos.data.dedup.hashing import Hashes, Places, hash_ranges, random_numbers
from llmos.data.dedup.shingles import shingles

BANDS = 14
ROWS = 8
"""Hashes of a band; both as in arXiv 2406.17557 (FineWeb), 3.4."""

BATCH = 1 << 17
"""Characters hashed at once, chosen for speed: the arrays fit in a processor's cache.

A longer text is hashed in parts of this length: the shingles across two parts are not seen.
"""

_HASHES = BANDS * ROWS
_LARGEST = np.uint32(0xFFFFFFFF)


def bands(texts: Sequence[str]) -> tuple[Places, Hashes]:
    """Which of the texts have shingles, and their bands: (those texts, `BANDS`).

    Bands of different places never agree but by accident (1 in 2^64).
    """
    found = np.zeros(len(texts), np.bool_)
    minima = np.full((len(texts), _HASHES), _LARGEST)
    for owners, parts in _batches(texts):
        hashes, counts = shingles(parts)
        some = counts > 0
        owners = owners[some]
        found[owners] = True
        starts = (np.cumsum(counts) - counts)[some]
        minima[owners] = np.minimum(minima[owners], _minima(hashes, starts))
    # The place goes into the hash, as one more number in front of the eight.
    rows = np.empty((int(found.sum()), BANDS, ROWS + 1), np.uint64)
    rows[:, :, 0] = np.arange(BANDS)
    rows[:, :, 1:] = minima[found].reshape(-1, BANDS, ROWS)
    rows += np.uint64(1)
    starts = np.arange(0, rows.size, ROWS + 1)
    return np.flatnonzero(found), hash_ranges(rows.ravel(), starts, starts + ROWS + 1).reshape(
        -1, BANDS
    )


def _minima(hashes: npt.NDArray[np.uint32], starts: Places) -> npt.NDArray[np.uint32]:
    """(texts, hashes): the least value that each of the hash functions has in each text.

    The functions are x -> ax + b modulo 2^32 with an odd a: permutations.
    """
    least = np.empty((len(starts), _HASHES), np.uint32)
    if len(starts):
        values = np.empty_like(hashes)
        for place, (factor, term) in enumerate(_FUNCTIONS):
            np.multiply(hashes, factor, out=values)
            np.add(values, term, out=values)
            least[:, place] = np.minimum.reduceat(values, starts)
    return least


_FUNCTIONS = (random_numbers(2 * _HASHES) >> np.uint64(32)).astype(np.uint32).reshape(-1, 2)
_FUNCTIONS[:, 0] |= np.uint32(1)


def _batches(texts: Sequence[str]) -> Iterator[tuple[Places, list[str]]]:
    """Texts or parts of them, at most one of a text in a batch, and the numbers of their texts."""
    owners: list[int] = []
    size = 0
    for number, text in enumerate(texts):
        if len(text) > BATCH:
            for start in range(0, len(text), BATCH):
                yield np.array([number]), [text[start : start + BATCH]]
            continue
        if size + len(text) + 1 > BATCH and owners:
            yield np.array(owners), [texts[owner] for owner in owners]
            owners, size = [], 0
        owners.append(number)
        size += len(text) + 1  # texts are joined by line ends
    if owners:
        yield np.array(owners), [texts[owner] for owner in owners]
