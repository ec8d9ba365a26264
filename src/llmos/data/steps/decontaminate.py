"""Drop documents that share a run of words with an evaluation set, so that its scores mean what
they say.

After GPT-3 (arXiv 2005.14165, appendix C): runs of 13 words, case and punctuation aside. There 200
characters around a run were cut out, and a document in more than ten pieces dropped; here it is
dropped at once, and which documents shared how much with which set is listed (`found`). There runs
that stood in more than ten documents were left alone; here they count, so what an evaluation set
quotes from elsewhere, such as a licence, had better be taken out of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from llmos.data.dedup.hashing import Hashes, hash_ranges
from llmos.data.dedup.shingles import words_of
from llmos.data.documents import Document
from llmos.data.evaluation_sets import Stamp, stamps, strings_of_set
from llmos.data.steps.step import Drop
from llmos.errors import DataError, UsageError
from llmos.records import JSON

WORDS = 13
"""Words in a row: arXiv 2005.14165, appendix C."""
IDEOGRAPHS, LETTERS = 1.9, 3.3
"""How many times more letters than words a run has in scripts without spaces, where each letter
stands for itself: in Chinese and Japanese, and in Thai, Lao, Khmer, Burmese (measured: see
`llmos.data.dedup.shingles`, whose words these are)."""
BATCH = 1 << 20
"""Characters of an evaluation set that are hashed at once."""
SPARSE = 16
"""Places in the table of a quick look per run of words, so that few others are let through."""


def ngrams(texts: Sequence[str], words: int) -> Hashes:
    """The hashes of all runs of so many words within each of `texts`.

    The script of its first word tells how long a run is.
    """
    found = words_of(texts)
    behind = np.arange(words, words + len(found.hashes))
    unspaced = np.flatnonzero(found.unspaced)
    if len(unspaced):
        more, most = (round(words * (letters - 1)) for letters in (IDEOGRAPHS, LETTERS))
        behind[unspaced] += np.where(found.ideographic[unspaced], more, most)
    ends = np.repeat(found.last, np.diff(found.last, prepend=0))
    runs = np.flatnonzero(behind <= ends)
    return hash_ranges(found.hashes, runs, behind[runs])


@dataclass(frozen=True)
class _Index:
    """The runs of words of all sets: `owners` holds for each of the sorted `hashes` its set."""

    names: tuple[str, ...]
    hashes: Hashes
    owners: npt.NDArray[np.int64]
    table: npt.NDArray[np.bool_]
    """Whether there is a hash with these first bits: one look tells most texts to be clean."""

    def shared(self, runs: Hashes) -> dict[str, int]:
        """How many different `runs` stand in each set that has any of them."""
        shift = np.uint64(64 - (len(self.table).bit_length() - 1))
        likely = np.unique(runs[self.table[runs >> shift]])
        first = np.searchsorted(self.hashes, likely, side="left")
        behind = np.searchsorted(self.hashes, likely, side="right")
        owners = [self.owners[a:b] for a, b in zip(first, behind, strict=True) if a < b]
        if not owners:
            return {}
        counts = np.bincount(np.concatenate(owners), minlength=len(self.names))
        return {n: int(c) for n, c in zip(self.names, counts, strict=True) if c}


@lru_cache(maxsize=2)
def _index(sets: tuple[tuple[Stamp, ...], ...], names: tuple[str, ...], words: int) -> _Index:
    hashes, owners = [], []
    for number, (name, files) in enumerate(zip(names, sets, strict=True)):
        found = np.unique(np.concatenate([np.empty(0, np.uint64), *_of_set(files, words)]))
        if not len(found):
            raise DataError(
                f"the evaluation set {name} has no {words} words in a row, so nothing can be "
                "compared: set preparation.contamination_words lower in the recipe"
            )
        hashes.append(found)
        owners.append(np.full(len(found), number))
    together = np.concatenate(hashes)
    order = np.argsort(together, kind="stable")
    bits = max(8, (SPARSE * len(together) - 1).bit_length())
    table = np.zeros(1 << bits, np.bool_)
    table[together >> np.uint64(64 - bits)] = True
    return _Index(names, together[order], np.concatenate(owners)[order], table)


def _of_set(files: Iterable[Stamp], words: int) -> Iterable[Hashes]:
    """The runs of a set, batch by batch."""
    batch: list[str] = []
    size = 0
    for text in strings_of_set(files):
        batch.append(text)
        size += len(text)
        if size >= BATCH:
            yield ngrams(batch, words)
            batch, size = [], 0
    yield ngrams(batch, words)


class Decontaminate:
    """Drops "contaminated"; `sets` are files or folders (see `llmos.data.evaluation_sets`).

    `found` lists the documents dropped: {"document": id, "sets": {name: runs shared}}; a set is
    called by the last part of its path. Raises `UsageError` for two sets of one name; `DataError`
    for a set that cannot be read, or has no run so long.
    """

    def __init__(self, sets: Iterable[str], words: int = WORDS) -> None:
        self.sets = tuple(sets)
        self.words = words
        self.found: list[JSON] = []
        names = tuple(Path(path).name for path in self.sets)
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise UsageError(f"two evaluation sets are called {twice[0]!r}: rename one of them")
        self._index = _index(tuple(stamps(Path(path)) for path in self.sets), names, words)

    def __reduce__(self) -> tuple[type[Decontaminate], tuple[tuple[str, ...], int]]:
        # The sets may be large: every process reads them itself.
        return Decontaminate, (self.sets, self.words)

    def __call__(self, document: Document, counts: Counter[str]) -> Document | Drop:
        """The document, or that it shares text with an evaluation set."""
        del counts
        shared = self._index.shared(ngrams([document.text], self.words))
        if not shared:
            return document
        self.found.append({"document": document.id, "sets": shared})
        return Drop("contaminated")
