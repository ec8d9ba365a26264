"""How SQuAD judges an answer: the rules of evaluate-v1.1.py and evaluate-v2.0.py.

Rajpurkar et al. 2016 (arXiv 1606.05250, section 6.1) and 2018 (arXiv 1806.03822). English: only
ASCII punctuation is dropped, and words end at blanks; `exact_match` is for all languages. v2.0 has
questions without an answer: no reference, or only references that are empty once normalised, make
the empty answer the right one.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, without ASCII punctuation, articles and blanks that are too many."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """1 where the prediction is one of the references, normalised; else 0. v1.1 and v2.0."""
    return float(normalise(prediction) in map(normalise, answers(references)))


def f1_v1(prediction: str, references: Sequence[str]) -> float:
    """The best F1 of words against a reference; 0 where nothing is shared, by v1.1."""
    return max(_f1(prediction, reference) for reference in references)


def f1_v2(prediction: str, references: Sequence[str]) -> float:
    """The best F1 of words against a reference; by v2.0 two empty answers are alike: 1."""
    found = normalise(prediction)
    wanted = answers(references)
    return max(
        _f1(found, reference) if found and normalise(reference) else float(found == reference)
        for reference in wanted
    )


def answers(references: Sequence[str]) -> Sequence[str]:
    """The references that v2.0 goes by: those that are not empty, or the empty answer."""
    return [text for text in references if normalise(text)] or [""]


def _f1(prediction: str, reference: str) -> float:
    found, wanted = normalise(prediction).split(), normalise(reference).split()
    same = (Counter(found) & Counter(wanted)).total()
    return 2 * same / (len(found) + len(wanted)) if same else 0.0
