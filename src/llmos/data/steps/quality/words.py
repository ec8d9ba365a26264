"""How many words a text has, and which, in any script, fast enough for a corpus.

What lies between blanks (a chunk) is cut once, when it is first met, and remembered: after some
megabytes of a language most chunks are known, and a text costs one look-up per chunk.
"""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from array import array
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import blake2b
from itertools import islice

import numpy as np
import numpy.typing as npt

from llmos.data.steps.quality.scripts import CHUNKS, HAS_UNSPACED, LETTERS_PER_WORD

MOST_CHUNKS = 1 << 18
"""Chunks remembered before the table starts anew: about 80 MB."""
MOST_CHARACTERS = 1 << 24
"""Characters of chunks remembered, so that texts of endless words do not fill the memory."""
LONGEST_CHUNK = 100_000
"""Characters of a chunk above which it is one word and not cut: such a thing is no text."""
WORD = 1000
"""Weights are thousandths of a word, so that sums are exact."""

_LETTER = r"[^\W\d_]"
_LEAD = re.compile(r"\.\.+|[%=]|\+(?!\d)")
_INSIDE = re.compile(
    r"(\.\.+|…+"
    r"|(?<=\d)[+\-*^](?=[\d-])"
    rf"|(?<={_LETTER}),(?={_LETTER})"
    rf"|(?<=[^\W_])(?:[-–—~]+|[:<>=/])(?={_LETTER})"
    r"|(?<=[a-z'\"])\.(?=[A-Z'\"]))"
)
_CONTRACTION = re.compile(r"(?<=\w)(?:n['’]t|['’](?:s|S|re|ve|ll|d|m))$")
_ADDRESS = re.compile(r"https?://|www\.")
_INNER_MARKS = frozenset("-/\\@%")  # they belong to the word that they stand before or after
# Words that keep their full stop; so do initials (J., U.S., e.g.).
_ABBREVIATED = re.compile(
    r"(?:Mrs?|Ms|Messrs|Dr|St|Prof|Jr|Sr|Gen|Rev|Co|Corp|Inc|Ltd|vs"
    r"|(?:[^\W\d_]\.)+[^\W\d_]|[^\W\d_a-z])\."
)
_PUNCTUATION = ("Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sc", "So")


@cache
def _end_marks() -> frozenset[str]:
    """The characters that are words of their own at either end of a chunk."""
    marks = (chr(code) for code in range(0x20000))
    found = {mark for mark in marks if unicodedata.category(mark) in _PUNCTUATION}
    return frozenset((found | set("<>`")) - _INNER_MARKS - {"."})


def split_chunk(chunk: str) -> list[str]:
    """Cut a chunk (no blanks in it) into words; each punctuation mark at its ends is one, too.

    The rules are those of spaCy's English tokenizer, which Gopher's and FineWeb's rules are run
    with in datatrove: words with hyphens or slashes are cut at them, numbers and addresses are
    not, "don't" is two words, an initial keeps its full stop. Of its lists of abbreviations only
    the most frequent are here; those of units and emoticons are left out.
    """
    if chunk.isalpha() or len(chunk) > LONGEST_CHUNK:
        return [chunk]
    marks = _end_marks()
    start, end = 0, len(chunk)
    before: list[str] = []
    while start < end:
        if chunk[start] in marks:
            before.append(chunk[start])
            start += 1
        elif match := _LEAD.match(chunk, start):
            before.append(match[0])
            start = match.end()
        else:
            break
    behind: list[str] = []
    while start < end:
        size = _end_mark(chunk, start, end, marks)
        if not size:
            break
        behind.append(chunk[end - size : end])
        end -= size
    core = chunk[start:end]
    if ("'" in core or "’" in core) and (match := _CONTRACTION.search(core)):
        behind.append(match[0])
        core = core[: match.start()]
    if core and (core.isalnum() or _ADDRESS.match(core)):
        before.append(core)
    else:
        before += filter(None, _INSIDE.split(core))
    return before + behind[::-1]


def _end_mark(chunk: str, start: int, end: int, marks: frozenset[str]) -> int:
    """How many characters before `end` are a punctuation mark of their own; 0: none."""
    last = chunk[end - 1]
    before = chunk[end - 2] if end - start > 1 else ""
    if last in "%+" or unicodedata.category(last) == "Sc":
        return int(before.isdigit())
    if last != ".":
        return int(last in marks)
    if before == ".":
        return end - start - len(chunk[start:end].rstrip("."))
    return int(bool(before) and not _ABBREVIATED.fullmatch(chunk, start, end))


@lru_cache(1 << 16)
def _hash(word: str) -> int:
    raw = word.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(raw, digest_size=8).digest(), sys.byteorder)


@dataclass(frozen=True)
class Tokens:
    """The words of a text in their order, punctuation marks and unspaced letters among them."""

    hashes: npt.NDArray[np.uint64]
    """The same word has the same one in every process."""
    ends: npt.NDArray[np.int64]
    """Characters up to each word, blanks not counted, and up to the end of the last."""
    gaps: npt.NDArray[np.bool_]
    """Whether the word is spaced text, so that a blank follows in an n-gram."""


@dataclass(frozen=True)
class Words:
    """The counts of a text; the first four in thousandths of a word (see `WORD`)."""

    total: int
    """Words and punctuation marks."""
    proper: int
    """Words with a letter or a digit."""
    alphabetic: int
    """Words with a letter."""
    spaced: int
    """The words of `proper` that stand between blanks."""
    spaced_letters: int
    """Their characters."""
    tokens: Tokens

    @property
    def tokens_per_word(self) -> float:
        """1 for text with blanks between its words; letters per word for unspaced text."""
        return len(self.tokens.hashes) * WORD / self.total


class WordTable(dict[str, int]):
    """From chunk to its number, and by the numbers what the chunks consist of."""

    def __init__(self) -> None:
        super().__init__()
        self._weights = [
            (re.compile(f"[{letters}]"), round(WORD / number))
            for letters, number in LETTERS_PER_WORD.items()
        ]
        self._begin()

    def _begin(self) -> None:
        self.clear()
        self._characters = 0
        # Of each chunk the five counts of `Words`, its first word and how many it has.
        self._rows = array("q")
        # Of each of their words the hash, and the length, negative where no blank follows.
        self._hashes = array("Q")
        self._lengths = array("q")

    def _make_room(self) -> None:
        if len(self) > MOST_CHUNKS or self._characters > MOST_CHARACTERS:
            self._begin()

    def __missing__(self, chunk: str) -> int:
        """Cut a chunk that is new and give it the next number."""
        first = len(self._lengths)
        number = self[chunk] = len(self)
        self._characters += len(chunk)
        core = chunk[:-1]
        if chunk.isalpha() and (chunk.isascii() or not HAS_UNSPACED.match(chunk)):
            self._rows.extend((WORD, WORD, WORD, WORD, len(chunk), first, 1))
            self._hashes.append(_hash(chunk))
            self._lengths.append(len(chunk))
        elif (
            core.isalpha()
            and (core.isascii() or not HAS_UNSPACED.match(core))
            and _end_mark(chunk, 0, len(chunk), _end_marks()) == 1
        ):
            # A word and a mark, the most frequent of what `split_chunk` cuts.
            self._rows.extend((2 * WORD, WORD, WORD, WORD, len(core), first, 2))
            self._hashes.extend((_hash(core), _hash(chunk[-1])))
            self._lengths.extend((len(core), 1))
        elif not chunk.isascii() and HAS_UNSPACED.match(chunk):
            weight = next((w for letter, w in self._weights if letter.match(chunk)), WORD)
            self._rows.extend((weight, weight, weight, 0, 0, first, 1))
            self._hashes.append(_hash(chunk))
            self._lengths.append(-len(chunk))
        else:
            words = split_chunk(chunk)
            self._rows.extend((*_counts(words), first, len(words)))
            self._hashes.extend(map(_hash, words))
            self._lengths.extend(map(len, words))
        return number

    def words(self, text: str) -> Words:
        """Cut `text` into words and count them."""
        self._make_room()
        chunks = chunks_of(text)
        numbers = np.fromiter(map(self.__getitem__, chunks), np.int64, len(chunks))
        rows = np.frombuffer(self._rows, np.int64).reshape(-1, 7)[numbers]
        total, proper, alphabetic, spaced, letters, _, _ = np.einsum("ij->j", rows).tolist()
        tokens = self._tokens(rows[:, 5], rows[:, 6])
        return Words(total, proper, alphabetic, spaced, letters, tokens)

    def has_words(self, text: str, number: int) -> bool:
        """Whether a short text has so many words, punctuation marks not counted."""
        self._make_room()
        proper = (self._rows[7 * self[chunk] + 1] for chunk in chunks_of(text))
        return sum(proper) >= number * WORD

    def _tokens(self, firsts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> Tokens:
        """The words of chunks that begin at these places and have so many words."""
        stops = np.cumsum(sizes)
        places = np.arange(int(sizes.sum())) + np.repeat(firsts - (stops - sizes), sizes)
        lengths = np.frombuffer(self._lengths, np.int64)[places]
        ends = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(np.abs(lengths), out=ends[1:])
        return Tokens(np.frombuffer(self._hashes, np.uint64)[places], ends, lengths > 0)


def _counts(words: list[str]) -> tuple[int, int, int, int, int]:
    """The five counts of `Words` for a chunk cut into words."""
    proper = alphabetic = letters = 0
    for word in words:
        if word.isalpha() or any(map(str.isalpha, word)):
            alphabetic += WORD
        elif not any(map(str.isalnum, word)):
            continue
        proper += WORD
        letters += len(word)
    return len(words) * WORD, proper, alphabetic, proper, letters


def chunks_of(text: str) -> list[str]:
    """What lies between blanks; letters of scripts without blanks between words one by one."""
    if text.isascii() or not HAS_UNSPACED.search(text):
        return text.split()
    return CHUNKS.findall(text)


def surely_more_words(text: str, number: int) -> bool:
    """Whether a text plainly has more words (with punctuation marks) than `number`.

    Told by its beginning, without cutting the rest. False says nothing.
    """
    if len(text) <= number:
        return False
    if text.isascii() or not HAS_UNSPACED.search(text):
        return len(text.split(None, number)) > number
    letters = number * math.ceil(max(LETTERS_PER_WORD.values()))
    return next(islice(CHUNKS.finditer(text), letters, None), None) is not None


@cache
def word_table() -> WordTable:
    """The table of this process."""
    return WordTable()
