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
from llmos.unspaced import UNSPACED, character_class

PART = 4
"""Characters of the longest part of a run that is counted."""

LONGEST_WORD = 32
"""Characters (leading space included) of the longest other piece that is counted whole."""

_RUST = "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in UNSPACED)
_UNSPACED = re.compile(character_class())
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
