"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004, W04-1013) by rouge-score, with units for every script.

rouge-score knows a to z and digits only. Here the units are words of any script, and characters in
scripts without spaces; on ASCII text they are its own. It is in the extra `evaluate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from llmos.errors import UsageError
from llmos.metrics.bootstrap import Floats
from llmos.metrics.score import at_least_one
from llmos.metrics.units import words

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer


class _Units:
    """The tokenizer that rouge-score asks for."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


@dataclass(frozen=True)
class Rouge:
    """The mean F1 (0 to 1) of runs of 1 or 2 units, or ("L") of the longest common subsequence.

    The best reference counts. `stemmer`: Porter's, and rouge-score's own tokenizer; English only.
    Rows: precision, recall, F1, 1.
    """

    variant: str = "L"
    stemmer: bool = False

    higher_is_better = True
    is_share = False
    bounds = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.variant not in ("1", "2", "L"):
            raise UsageError(f"ROUGE-{self.variant} is not known: take 1, 2 or L")

    @property
    def name(self) -> str:
        return f"ROUGE-{self.variant}"

    @property
    def settings(self) -> str:
        units = "porter" if self.stemmer else "words+characters"
        return f"units:{units}|rouge-score:{version('rouge-score')}"

    @cached_property
    def _scorer(self) -> RougeScorer:
        try:
            from rouge_score.rouge_scorer import RougeScorer
        except ImportError as error:
            raise UsageError("ROUGE needs rouge-score: pip install llmos[evaluate]") from error
        tokenizer = None if self.stemmer else _Units()
        return RougeScorer([f"rouge{self.variant}"], self.stemmer, tokenizer=tokenizer)

    def rows(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        at_least_one(self.name, references)
        found = [
            self._scorer.score_multi(list(targets), prediction)[f"rouge{self.variant}"]
            for prediction, targets in zip(predictions, references, strict=True)
        ]
        return np.array([(s.precision, s.recall, s.fmeasure, 1) for s in found], np.float64)

    def value(self, sums: Floats) -> float:
        return float(sums[2] / sums[3])
