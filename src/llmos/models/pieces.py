"""Pieces: how text is cut before byte-level BPE, and how members count it without sending it.

One definition serves every member, the coordinator and the finished tokenizer:

* `pre_tokenizer()` cuts text losslessly into words, digit groups, punctuation and spaces. It is the
  GPT-2 pattern (Radford et al. 2019, encoder.py) with GPT-4's groups of at most three digits,
  combining marks kept with their letters, and the scripts written without spaces as own runs.
* `training_pieces()` cuts such a run once more before anything is counted: into parts of at most
  `PART` characters, plus each character alone. A Chinese clause is one run, so uncut it would
  leave home as a "word". Any other piece longer than `LONGEST_WORD` (a base64 blob, a ruler of
  dashes) is cut the same way.

Encoding does not cut runs: merges that were learned inside parts apply across the whole run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from tokenizers import Regex, pre_tokenizers

from llmos.errors import DataError

PART = 4
"""Characters of the longest part of a run that is counted."""

LONGEST_WORD = 32
"""Characters (leading space included) of the longest other piece that is counted whole."""

UNSPACED = (
    # Letters and marks of the scripts that Unicode's UAX 14 breaks by dictionary (class SA) or
    # between any two characters (class ID). Written out, so that members whose libraries know
    # different Unicode versions still cut alike; digits and punctuation of the scripts left out.
    (0x0E01, 0x0E3A), (0x0E40, 0x0E4E),  # Thai
    (0x0E81, 0x0ECF), (0x0EDC, 0x0EDF),  # Lao
    (0x1000, 0x103F), (0x1050, 0x108F), (0x109A, 0x109D),  # Myanmar
    (0xA9E0, 0xA9EF), (0xA9FA, 0xA9FE), (0xAA60, 0xAA76), (0xAA7A, 0xAA7F),  # Myanmar, extended
    (0x1780, 0x17D3), (0x17D7, 0x17D7), (0x17DC, 0x17DD),  # Khmer
    (0x1950, 0x1974), (0x1980, 0x19C9),  # Tai Le, New Tai Lue
    (0x1A20, 0x1A7F), (0x1AA7, 0x1AA7),  # Tai Tham
    (0xAA80, 0xAADD), (0x11700, 0x1172F), (0x11740, 0x11746),  # Tai Viet, Ahom
    (0x2E80, 0x2FD5), (0x3005, 0x3007), (0x3021, 0x302D), (0x3031, 0x3035), (0x3038, 0x303A),  # Han
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFD),  # Han ideographs
    (0x3041, 0x309F), (0x1B000, 0x1B16F),  # Hiragana, old Kana
    (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF),  # Katakana with the mark of long vowels
    (0xFF66, 0xFF9F), (0x1AFF0, 0x1AFFE),  # half-width and Minnan Katakana
    (0x3105, 0x312F), (0x31A0, 0x31BF), (0xA000, 0xA48C),  # Bopomofo, Yi
)  # fmt: skip

_RUST = "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in UNSPACED)
_PYTHON = "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in UNSPACED)
_UNSPACED = re.compile(f"[{_PYTHON}]")
UNSPACED_CLASS = f"[{_RUST}]"
"""One character of a script without spaces, in the syntax of Oniguruma."""

# Every character belongs to exactly one of: unspaced script, other letter or mark, other number,
# white space, the rest. Each class has an alternative that takes at least one of it, so that the
# matches cover any text. U+200C and U+200D join letters inside Persian and Indic words.
PATTERN = "|".join(
    (
        # The English endings, only at the end of a word: French d'revenir would lose its "re".
        r"['’](?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])(?![\p{L}\p{M}])",
        rf" ?[\p{{L}}\p{{M}}&&[^{_RUST}]][[\p{{L}}\p{{M}}\x{{200c}}\x{{200d}}]&&[^{_RUST}]]*",
        rf"[{_RUST}][{_RUST}\p{{M}}]*",
        rf"[\p{{N}}&&[^{_RUST}]]{{1,3}}",
        rf" ?[^\s\p{{L}}\p{{M}}\p{{N}}{_RUST}][^\s\p{{L}}\p{{N}}{_RUST}]*",
        r"\s+(?!\S)|\s+",
    )
)
"""The pre-tokenization pattern, in the syntax of Oniguruma."""

_DISTINCT_WHOLE = 200_000  # whole runs held in memory before they are cut: clauses rarely repeat


@cache
def split_pattern() -> pre_tokenizers.PreTokenizer:
    """Cut by `PATTERN`, without changing a character."""
    return pre_tokenizers.Split(Regex(PATTERN), "isolated")


def byte_level() -> pre_tokenizers.PreTokenizer:
    """Bytes as the 256 printable symbols of GPT-2, without cutting anything."""
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """What the finished tokenizer does before BPE: cut by `PATTERN`, then bytes as symbols."""
    return pre_tokenizers.Sequence([split_pattern(), byte_level()])


def split_text(text: str) -> list[str]:
    """Cut `text` by `PATTERN`; the pieces joined are `text` again.

    Raises `DataError` for a lone surrogate, which no UTF-8 text can hold.
    """
    try:
        return [piece for piece, _ in split_pattern().pre_tokenize_str(text)]
    except UnicodeEncodeError as error:
        raise DataError(
            f"the text holds a lone surrogate U+{ord(text[error.start]):04X} at character "
            f"{error.start}: read it as UTF-8 with errors='replace'"
        ) from error


def is_unspaced(piece: str) -> bool:
    """Whether `piece` is of a script without spaces: a run, or a part of one."""
    return _UNSPACED.match(piece) is not None


def training_pieces(piece: str) -> list[str]:
    """What is counted for one piece of `split_text`: itself, or the parts of a run.

    Of a run: its consecutive parts of 2 to `PART` characters, then each of its characters, so
    that characters too rare in any one part still pass the threshold. A last part of one
    character is not listed twice: the count of a character is how often it occurs.
    """
    if len(piece) <= LONGEST_WORD and not is_unspaced(piece):
        return [piece]
    parts = [piece[start : start + PART] for start in range(0, len(piece), PART)]
    if len(parts[-1]) == 1:
        parts.pop()
    return parts + list(piece)


def is_training_piece(piece: str) -> bool:
    """Whether counting can yield `piece`; of one of at most `PART` characters, all that is asked
    is that it is not empty (the parts of a run may begin anywhere)."""
    if len(piece) <= PART:
        return bool(piece)
    return (
        len(piece) <= LONGEST_WORD and not _UNSPACED.search(piece) and split_text(piece) == [piece]
    )


def iterate_training_pieces(texts: Iterable[str]) -> Iterator[list[str]]:
    """The training pieces of each text, in order: what central training reads."""
    for text in texts:
        yield [part for piece in split_text(text) for part in training_pieces(piece)]


def count_pieces(texts: Iterable[str]) -> Counter[str]:
    """Count the training pieces of a member's texts, at home: nothing is filtered yet.

    Raises `DataError` for text that is not valid Unicode.
    """
    counts: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for text in texts:
        whole.update(split_text(text))
        if len(whole) >= _DISTINCT_WHOLE:
            _add_parts(counts, whole)
            whole.clear()
    _add_parts(counts, whole)
    return counts


def _add_parts(counts: Counter[str], whole: Mapping[str, int]) -> None:
    for piece, count in whole.items():
        for part in training_pieces(piece):
            counts[part] += count
