"""Which characters get a token of their own where a vocabulary is not made of bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

COVERAGE = (9995, 10_000)
"""Share of all occurrences of characters that the vocabulary covers, as a fraction: 0.9995, the
default of SentencePiece (Kudo and Richardson 2018, arXiv:1808.06226; trainer option
character_coverage). Of Chinese or Japanese text it leaves out the rarest ideographs only."""

PRINTABLE = frozenset(chr(code) for code in range(0x21, 0x7F))


def covered_characters(words: Mapping[str, int]) -> list[str]:
    """The most frequent characters until they reach `COVERAGE`, and all of ASCII that occur.

    `words` are counts of words. Sorted by code point. Whole numbers decide, so the answer is
    the same on every machine; of characters equally frequent the lower code points go first.
    """
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    wanted = sum(counts.values()) * COVERAGE[0]
    kept = [character for character in counts if character in PRINTABLE]
    reached = sum(counts[character] for character in kept)
    rest = sorted(counts.keys() - PRINTABLE, key=lambda character: (-counts[character], character))
    for character in rest:
        if reached * COVERAGE[1] >= wanted:
            break
        kept.append(character)
        reached += counts[character]
    return sorted(kept)
