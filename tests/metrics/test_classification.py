from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.errors import UsageError
from llmos.metrics.classification import accuracy, confusion_matrix, macro_f1, per_class

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@given(PAIRS)
def test_against_counting_one_by_one(pairs: list[tuple[int, int]]) -> None:
    predicted, true = zip(*pairs, strict=True)
    matrix = confusion_matrix(predicted, true, 4)
    assert accuracy(matrix) == pytest.approx(sum(p == t for p, t in pairs) / len(pairs))
    figures = per_class(matrix)
    f1s = []
    for number in range(4):
        hits = sum(p == t == number for p, t in pairs)
        as_it = sum(p == number for p in predicted)
        of_it = sum(t == number for t in true)
        precision = hits / as_it if as_it else 0.0
        recall = hits / of_it if of_it else 0.0
        f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
        assert figures.precision[number] == pytest.approx(precision)
        assert figures.recall[number] == pytest.approx(recall)
        assert figures.f1[number] == pytest.approx(f1)
        assert figures.support[number] == of_it
        if as_it or of_it:
            f1s.append(f1)
        for other in range(4):
            assert matrix[number, other] == pairs.count((other, number))
    assert macro_f1(matrix) == pytest.approx(sum(f1s) / len(f1s))


def test_a_worked_example() -> None:
    # The example in scikit-learn's manual of f1_score: macro F1 0.26..., accuracy 1/3.
    matrix = confusion_matrix([0, 2, 1, 0, 0, 1], [0, 1, 2, 0, 1, 2], 3)
    assert matrix.tolist() == [[2, 0, 0], [1, 0, 1], [0, 2, 0]]
    assert macro_f1(matrix) == pytest.approx(0.8 / 3)
    assert accuracy(matrix) == pytest.approx(1 / 3)


def test_matrices_of_several_members_add_up() -> None:
    a = confusion_matrix([0, 1], [0, 0], 2)
    b = confusion_matrix([1, 1], [1, 0], 2)
    assert (a + b == confusion_matrix([0, 1, 1, 1], [0, 0, 1, 0], 2)).all()


def test_a_class_that_never_occurs_does_not_count() -> None:
    assert macro_f1(confusion_matrix([0, 1], [0, 1], 5)) == 1


@pytest.mark.parametrize(
    ("predicted", "true", "match"),
    [
        ([0, 1], [0], "2 predictions and 1 true"), ([2], [0], "predicted has the class 2"),
        ([0], [-1], "true has the class -1"), ([0.5], [0], "float64"), ([[0]], [0], r"\(1, 1\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_is_refused(
    predicted: list[int], true: list[int], match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        confusion_matrix(predicted, true, 2)


def test_no_texts_have_no_figures() -> None:
    empty = confusion_matrix([], [], 3)
    assert (empty == np.zeros((3, 3))).all()
    for figure in (accuracy, macro_f1):
        with pytest.raises(UsageError, match="0 texts"):
            figure(empty)
