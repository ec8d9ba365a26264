"""Whether a short answer is right, and how much of it: exact match and F1, in any language.

Both compare normalised answers as SQuAD does (Rajpurkar et al. 2016, arXiv 1606.05250, section 6.1;
evaluate-v1.1.py): lower case, without punctuation and English articles, a word as the unit. Two
things are MLQA's (Lewis et al. 2020, arXiv 1910.07475), because SQuAD is English: the punctuation
of all scripts is dropped, and in scripts without spaces each character is a unit.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter

from llmos.metrics.units import space_out

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalise(text: str) -> str:
    """The units of an answer with a blank between them.

    `normalise("The Great Wall (长城)")` is `"great wall 长 城"`.
    """
    kept = "".join(c for c in text.lower() if not _is_punctuation(c))
    return " ".join(space_out(_ARTICLES.sub(" ", kept)).split())


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def exact_match(prediction: str, reference: str, *others: str) -> float:
    """1 where the prediction is one of the references but for the normalisation, else 0."""
    wanted = {normalise(text) for text in (reference, *others)}
    return float(normalise(prediction) in wanted)


def f1(prediction: str, reference: str, *others: str) -> float:
    """The best F1 of the prediction's units against those of a reference, from 0 to 1.

    Units count as often as they occur. Where either side has none, it is 1 if the other has none
    either, as in evaluate-v2.0.py (v1.1 gives 0, although the exact match is 1).
    """
    found = Counter(normalise(prediction).split())
    return max(_f1(found, Counter(normalise(text).split())) for text in (reference, *others))


def _f1(found: Counter[str], wanted: Counter[str]) -> float:
    if not found or not wanted:
        return float(found == wanted)
    return 2 * (found & wanted).total() / (found.total() + wanted.total())
