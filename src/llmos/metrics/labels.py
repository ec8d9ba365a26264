"""Accuracy, macro F1 and Matthews' correlation of labels that a model wrote or chose.

A prediction that is no label is wrong: it takes a hit from its true label, and is a class of its
own in Matthews' correlation only. C labels; rows are the counts of `classification`, which add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmos.errors import UsageError
from llmos.metrics.bootstrap import Floats
from llmos.metrics.classification import matthews, mean_f1
from llmos.metrics.score import IsMean, at_least_one, mean_rows


@dataclass(frozen=True)
class Accuracy(IsMean):
    """The share of predictions that are one of their references, but for blanks at the ends."""

    name = "accuracy"
    settings = ""
    higher_is_better = True
    is_share = True
    bounds = (0.0, 1.0)

    def rows(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        at_least_one(self.name, references)
        pairs = zip(predictions, references, strict=True)
        return mean_rows([float(p.strip() in [text.strip() for text in r]) for p, r in pairs])


@dataclass(frozen=True)
class _Counted:
    """Rows: for each label and the class of what is none, whether it is right, predicted, true."""

    labels: tuple[str, ...]

    higher_is_better = True
    is_share = False
    bounds = (0.0, 1.0)

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels) or len(self.labels) < 2:
            raise UsageError(f"labels {self.labels}: give two or more, each once")

    @property
    def settings(self) -> str:
        return f"labels:{','.join(self.labels)}"

    def rows(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        at_least_one("labels", references)
        number = {label: place for place, label in enumerate(self.labels)}
        rows = np.zeros((len(predictions), 3, len(self.labels) + 1))
        for row, prediction, wanted in zip(rows, predictions, references, strict=True):
            if len(wanted) != 1 or wanted[0] not in number:
                raise UsageError(f"the true label {list(wanted)} is not one of {self.labels}")
            true = number[wanted[0]]
            found = number.get(prediction.strip(), len(self.labels))
            row[0, true] = found == true
            row[1, found] = row[2, true] = 1
        return rows.reshape(len(rows), -1)

    def _counts(self, sums: Floats) -> Floats:
        return sums.reshape(3, -1)


class MacroF1(_Counted):
    """The mean F1 of the labels that occur, as true or as predicted ones. From 0 to 1."""

    name = "macro F1"

    def value(self, sums: Floats) -> float:
        return mean_f1(*self._counts(sums)[:, :-1])


class Matthews(_Counted):
    """Matthews' correlation of the labels. From -1 to 1; 0 is chance."""

    name = "MCC"
    bounds = (-1.0, 1.0)

    def value(self, sums: Floats) -> float:
        return matthews(*self._counts(sums))
