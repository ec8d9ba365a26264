"""Texts as sets of shingles: runs of five words, hashed, for all texts of a batch at once.

Text is simplified as in datatrove 0.10 (`simplify_text`), which made FineWeb: case, accents and
other non-spacing marks go, and what is neither letter nor digit separates words. But numbers stay
(there, all count as 0): tables, prices and sums would pass for copies of each other.

In scripts without spaces each letter counts as a word, and a shingle is longer. Changing a word of
c letters touches k + c - 1 shingles of k letters, so k = 4c + 1 makes a changed word weigh as much
as where words are known. c is 1.7 in Chinese (by jieba), 1.9 in Japanese (janome) and 3.3, marks
not counted, in Thai (pythainlp), in the pages of the Hugging Face course.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from llmos.data.dedup.hashing import Hashes, Places, hash_ranges
from llmos.unspaced import BY_DICTIONARY, IDEOGRAPHIC

WORDS = 5
"""Words of a shingle: arXiv 2406.17557 (FineWeb), 3.4."""
IDEOGRAPHS = 8
"""Letters of a shingle in Chinese, Japanese and Yi."""
LETTERS = 14
"""Letters of a shingle in Thai, Lao, Khmer, Burmese and their relatives."""

_SEPARATOR = np.uint32(0)
_DROPPED = np.uint32(0xFFFFFFFF)
_UNSPACED_FLAG, _IDEOGRAPHIC_FLAG = 1 << 22, 1 << 23  # above any code point
_ASSIGNED = (range(0x32400), range(0xE0000, 0xE0200))
"""The code points of Unicode that may be letters, marks or digits, and more."""


def shingles(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint32], Places]:
    """The hashes of the shingles of all texts, one text after the other, and how many each has.

    A text of fewer words than a shingle has none. The same shingle may occur several times. 32 bits
    do: that two texts of a million shingles have the same least one (see `minhash`) by accident has
    a probability of 1 in 8600, and a band of eight 1 in 10^31.
    """
    words = words_of(texts)
    wide = np.full(len(words.hashes), WORDS)
    wide[words.unspaced] = LETTERS
    wide[words.ideographic] = IDEOGRAPHS

    last = words.last
    counts = np.diff(last, prepend=0)
    stops = np.arange(len(words.hashes)) + wide
    fits = stops <= np.repeat(last, counts)
    starts = np.flatnonzero(fits)
    before = np.concatenate(([0], np.cumsum(fits)))
    hashes = hash_ranges(words.hashes, starts, stops[starts]) >> np.uint64(32)
    return hashes.astype(np.uint32), before[last] - before[last - counts]


@dataclass(frozen=True)
class WordsOf:
    """The words of some texts, one text after the other, (words,) each; a letter of a script
    without spaces is one."""

    hashes: Hashes
    unspaced: npt.NDArray[np.bool_]
    """Whether it is a letter of a script without spaces."""
    ideographic: npt.NDArray[np.bool_]
    """Whether it is one of Chinese, Japanese or Yi; those are unspaced, too."""
    last: Places
    """For each text the number of the word behind it: (texts,)."""


def words_of(texts: Sequence[str]) -> WordsOf:
    """Cut all texts into words, as simplified as this module says."""
    codes = _letters()[
        np.frombuffer("\n".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    ]
    kept = codes != _DROPPED
    # Where each text ends; between two of them stands one line end, which separates words.
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    ends = np.cumsum(lengths + 1) - 1
    ends = np.concatenate(([0], np.cumsum(kept)))[ends]
    codes = codes[kept]
    starts, stops = _words(codes)
    firsts = codes[starts]
    return WordsOf(
        hash_ranges(codes, starts, stops),
        firsts >= _UNSPACED_FLAG,
        firsts >= _IDEOGRAPHIC_FLAG,
        np.searchsorted(starts, ends),
    )


def _words(codes: npt.NDArray[np.uint32]) -> tuple[Places, Places]:
    """Where each word begins and ends."""
    inside = codes != _SEPARATOR
    spaced = inside & (codes < _UNSPACED_FLAG)
    goes_on = np.zeros(len(codes) + 1, np.bool_)
    goes_on[1:-1] = spaced[1:] & spaced[:-1]
    return (
        np.flatnonzero(inside & ~goes_on[:-1]),
        np.flatnonzero(inside & ~goes_on[1:]) + 1,
    )


@cache
def _letters() -> npt.NDArray[np.uint32]:
    """For each code point the letter it counts as, with its script's flag; or one of the signs."""
    table = np.full(0x110000, _SEPARATOR, np.uint32)
    for code in (code for codes in _ASSIGNED for code in codes):
        table[code] = _letter(chr(code))
    for flag, ranges in ((_UNSPACED_FLAG, BY_DICTIONARY), (_IDEOGRAPHIC_FLAG, IDEOGRAPHIC)):
        for first, last in ranges:
            block = table[first : last + 1]
            letter = (block > ord("9")) & (block != _DROPPED)
            block[letter] |= np.uint32(flag)
    return table


def _letter(character: str) -> np.uint32 | int:
    category = unicodedata.category(character)
    if category in ("Mn", "Me", "Cf"):
        return _DROPPED
    if category == "Nd":
        return ord("0") + unicodedata.decimal(character)
    if category[0] not in "LMN":
        return _SEPARATOR
    folded = unicodedata.normalize("NFKD", character).casefold()
    bare = [letter for letter in folded if unicodedata.category(letter) != "Mn"]
    return ord(bare[0]) if len(bare) == 1 else ord(character)
