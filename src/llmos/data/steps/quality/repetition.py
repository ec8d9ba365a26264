"""Gopher's rules against texts that repeat themselves (arXiv 2112.11446, table A1).

As datatrove's `GopherRepetitionFilter` has them; n words are the same here where each of them is,
there where they are the same letters in a row. In scripts without blanks between words an n-gram is
as many letters as make n words of the text at hand.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from llmos.data.steps.quality.page import Page, repeated
from llmos.data.steps.quality.words import Tokens
from llmos.data.steps.step import Drop

# Table A1. Shares of lines and paragraphs that are repeats, and of the text's characters in them.
PARAGRAPHS = 0.30
PARAGRAPH_CHARACTERS = 0.20
LINES = 0.30
LINE_CHARACTERS = 0.20
# Table A1: words, and the share of the characters that the most frequent n-gram covers.
TOP_NGRAMS = ((2, 0.20), (3, 0.18), (4, 0.16))
# Table A1: words, and the share of the characters in n-grams that stood there before.
REPEATED_NGRAMS = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))

_FACTOR = np.uint64(0x9E3779B97F4A7C15)

_Hashes = npt.NDArray[np.uint64]
_Places = npt.NDArray[np.int64]


def repetition(page: Page, counts: Counter[str]) -> Page | Drop:
    """The page as it is, or the first rule that it breaks."""
    reason = _parts(page.text) or _ngrams(page)
    return Drop(reason) if reason else page


def _parts(text: str) -> str:
    """The reason among the rules on whole paragraphs and lines; empty where they are met."""
    paragraphs = [part.lstrip("\n") for part in text.strip().split("\n\n")]
    for name, parts, most, most_characters in (
        ("paragraph", paragraphs, PARAGRAPHS, PARAGRAPH_CHARACTERS),
        ("line", text.split("\n"), LINES, LINE_CHARACTERS),
    ):
        parts = [part for part in parts if part]
        number, characters = repeated(parts)
        if number / len(parts) > most:
            return f"gopher_repeated_{name}s"
        if characters / len(text) > most_characters:
            return f"gopher_repeated_{name}_characters"
    return ""


def _ngrams(page: Page) -> str:
    """The reason among the rules on n-grams, which look at windows of words (or letters)."""
    tokens, size_of_word = page.words.tokens, page.words.tokens_per_word
    windows = _Windows(tokens.hashes)
    times = len(tokens.hashes)  # no n-gram occurs more often than its part that was looked at
    widest = int(np.diff(tokens.ends).max(initial=0)) + 1
    for n, share in TOP_NGRAMS:
        size = round(n * size_of_word)
        most = share * len(page.text)
        if times * (size * widest - 1) <= most:
            continue
        times, characters = _top(windows.of(size), size, tokens)
        if characters > most:
            return f"gopher_top_{n}_gram"
    least = min(share for _, share in REPEATED_NGRAMS) * len(page.text)
    for n, share in REPEATED_NGRAMS:
        size = round(n * size_of_word)
        hashes = windows.of(size)
        places = _places_of_repeats(hashes)
        # Whatever repeats over more words lies within what repeats over these.
        if _covered(places, size, tokens.ends) <= least:
            break
        if _repeated_characters(hashes, places, size, tokens.ends) > share * len(page.text):
            return f"gopher_repeated_{n}_grams"
    return ""


class _Windows:
    """Hashes of all windows of a size, each size made from the one before."""

    def __init__(self, hashes: _Hashes) -> None:
        self._hashes = hashes
        self._size = 1
        self._windows = hashes

    def of(self, size: int) -> _Hashes:
        """The hashes of the windows at 0, 1, ...; `size` must not fall from call to call."""
        while self._size < size:
            self._windows = self._windows[:-1] * _FACTOR + self._hashes[self._size :]
            self._size += 1
        return self._windows


def _top(hashes: _Hashes, size: int, tokens: Tokens) -> tuple[int, int]:
    """How often the most frequent window occurs, and the characters that it covers.

    Of several windows the one that comes first.
    """
    if not len(hashes):
        return 0, 0
    ordered = np.sort(hashes)
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    times = np.diff(np.append(starts, len(ordered)))
    highest = int(times.max())
    first = int(np.argmax(_among(hashes, ordered[starts[times == highest]])))
    blanks = int(tokens.gaps[first : first + size - 1].sum())
    return highest, highest * (int(tokens.ends[first + size] - tokens.ends[first]) + blanks)


def _among(hashes: _Hashes, ordered: _Hashes) -> npt.NDArray[np.bool_]:
    """Which of the hashes are in the other array, which is in order and not empty."""
    places = np.minimum(np.searchsorted(ordered, hashes), len(ordered) - 1)
    found: npt.NDArray[np.bool_] = ordered[places] == hashes
    return found


def _places_of_repeats(hashes: _Hashes) -> _Places:
    """Where the windows are that occur more than once."""
    ordered = np.sort(hashes)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.flatnonzero(_among(hashes, twice)) if len(twice) else np.empty(0, np.int64)


def _covered(places: _Places, size: int, ends: _Places) -> int:
    """Characters in the windows at these places, each counted once."""
    if not len(places):
        return 0
    stops = np.minimum(places + size, np.append(places[1:], len(ends)))
    return int((ends[stops] - ends[places]).sum())


def _repeated_characters(hashes: _Hashes, places: _Places, size: int, ends: _Places) -> int:
    """Characters in windows that stood there before, which do not overlap (as datatrove counts)."""
    seen: set[int] = set()
    total = free = 0
    for place, window in zip(places.tolist(), hashes[places].tolist(), strict=True):
        if place < free:
            continue
        if window in seen:
            total += int(ends[place + size] - ends[place])
            free = place + size
        else:
            seen.add(window)
    return total
