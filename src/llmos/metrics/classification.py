"""How well a classifier does: accuracy, precision, recall and F1, all from the confusion matrix.

Confusion matrices add up, so those of several members, summed, give the figures of all their texts.
Shapes: N texts, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llmos.errors import UsageError

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PerClass:
    """Figures of each class, (C,) each; 0 where there is nothing to divide by.

    precision: share of the texts predicted as the class that are of it; recall: share of the texts
    of the class that were found; f1: their harmonic mean; support: texts of the class.
    """

    precision: Floats
    recall: Floats
    f1: Floats
    support: Counts


def confusion_matrix(predicted: npt.ArrayLike, true: npt.ArrayLike, classes: int) -> Counts:
    """How many texts of each class (rows) were predicted as each class (columns): (C, C).

    `predicted` and `true` are (N,) class numbers below `classes`. Raises `UsageError` for lengths
    that differ and for numbers that are no class.
    """
    found, wanted = _numbers(predicted, "predicted", classes), _numbers(true, "true", classes)
    if len(found) != len(wanted):
        raise UsageError(
            f"{len(found)} predictions and {len(wanted)} true classes: give one of each for a text"
        )
    return np.bincount(wanted * classes + found, minlength=classes**2).reshape(classes, classes)


def _numbers(values: npt.ArrayLike, name: str, classes: int) -> Counts:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise UsageError(
            f"{name} is {array.dtype} of shape {array.shape}: give one class number for each text"
        )
    wrong = array[(array < 0) | (array >= classes)]
    if len(wrong):
        raise UsageError(f"{name} has the class {wrong[0]}: number the {classes} classes from 0")
    return array.astype(np.int64)


def accuracy(confusion: Counts) -> float:
    """The share of texts whose class was found. Raises `UsageError` where there is no text."""
    return float(np.trace(confusion) / _texts(confusion))


def per_class(confusion: Counts) -> PerClass:
    """Precision, recall, F1 and support of each class."""
    right = np.diag(confusion)
    predicted, support = confusion.sum(axis=0), confusion.sum(axis=1)
    return PerClass(
        precision=_ratio(right, predicted),
        recall=_ratio(right, support),
        f1=_ratio(2 * right, predicted + support),
        support=support,
    )


def macro_f1(confusion: Counts) -> float:
    """The mean F1 of the classes that occur, as true or as predicted ones.

    The default of scikit-learn's `f1_score(average="macro")`. Raises `UsageError` without texts.
    """
    _texts(confusion)
    return mean_f1(np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1))


def mean_f1(right: npt.ArrayLike, predicted: npt.ArrayLike, true: npt.ArrayLike) -> float:
    """Macro F1 from the texts of each class, (C,), that are right, predicted, truly of it."""
    hits, both = np.asarray(right), np.asarray(predicted) + np.asarray(true)
    return float(_ratio(2 * hits, both)[both > 0].mean())


def matthews(right: npt.ArrayLike, predicted: npt.ArrayLike, true: npt.ArrayLike) -> float:
    """Matthews' correlation of any number of classes, from counts of each, (C,): from -1 to 1.

    Gorodkin (2004), "Comparing two K-category assignments by a K-category correlation coefficient",
    equation 8; 0 where all texts are predicted as, or are truly of, one class, as in scikit-learn.
    """
    p, t = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    texts = t.sum()
    spread = (texts**2 - p @ p) * (texts**2 - t @ t)
    return float((np.sum(right) * texts - p @ t) / np.sqrt(spread)) if spread > 0 else 0.0


def _texts(confusion: Counts) -> int:
    count = int(confusion.sum())
    if count == 0:
        raise UsageError("a confusion matrix of 0 texts says nothing: classify some")
    return count


def _ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Floats:
    ratio: Floats = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return ratio
