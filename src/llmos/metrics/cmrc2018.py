"""How CMRC 2018 judges a Chinese answer: the rules of its cmrc2018_evaluate.py, version 5.

Cui et al. 2019 (arXiv 1810.07366, section 3). Units are Han characters one by one, and the words of
other scripts by NLTK's tokenizer. F1 is by the longest run of units that both have, so that order
counts, unlike in SQuAD. NLTK (with rouge-score in the extra `evaluate`) is asked for single lines,
because its division into sentences needs a model that is not part of it; answers are single lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from llmos.errors import UsageError

if TYPE_CHECKING:
    from nltk.tokenize import NLTKWordTokenizer

# The script's list; its "……" of two characters is never met, since it goes by single ones.
_SIGNS = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """1 where the prediction is a reference but for case and punctuation, else 0."""
    return float(_without_signs(prediction) in map(_without_signs, references))


def f1(prediction: str, references: Sequence[str]) -> float:
    """The best F1 of the longest run of units shared with a reference; 0 where there is none."""
    found = units(prediction)
    return max(_f1(found, units(reference)) for reference in references)


def units(text: str) -> list[str]:
    """What is compared: `units("Python语言，1991年")` is `["python", "语", "言", "1991", "年"]`."""
    parts: list[str] = []
    rest = ""
    for character in text.lower().strip():
        if character in _SIGNS:
            continue
        if "\u4e00" <= character <= "\u9fa5":
            parts.extend(_words(rest))
            parts.append(character)
            rest = ""
        else:
            rest += character
    return [*parts, *_words(rest)]


def _f1(found: list[str], wanted: list[str]) -> float:
    shared = _longest_common_run(found, wanted)
    return 2 * shared / (len(found) + len(wanted)) if shared else 0.0


def _longest_common_run(a: list[str], b: list[str]) -> int:
    longest, above = 0, [0] * (len(b) + 1)
    for unit in a:
        row = [0]
        for place, other in enumerate(b):
            row.append(above[place] + 1 if unit == other else 0)
        longest, above = max(longest, *row), row
    return longest


def _without_signs(text: str) -> str:
    return "".join(c for c in text.lower().strip() if c not in _SIGNS)


def _words(text: str) -> list[str]:
    return list(_tokenizer().tokenize(text)) if text else []


@cache
def _tokenizer() -> NLTKWordTokenizer:
    try:
        from nltk.tokenize import NLTKWordTokenizer
    except ImportError as error:
        raise UsageError("CMRC's F1 needs nltk: pip install llmos[evaluate]") from error
    return NLTKWordTokenizer()
