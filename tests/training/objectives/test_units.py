"""Sums of predictions by document and block."""

from __future__ import annotations

import numpy as np

from llmos.training.objectives.units import Predictions, fixed_random, scores_by_unit


def predictions(nll: list[float], sizes: list[int], places: list[int]) -> Predictions:
    return Predictions(np.array(nll), np.array(sizes, np.int64), np.array(places, np.int64))


FOUND = [
    predictions([1.0, 2.0, 4.0], [1, 2, 3], [0, 9, 10]),
    predictions([], [], []),
    predictions([8.0], [5], [25]),
]


def test_a_document_is_a_unit_unless_nothing_was_predicted() -> None:
    scores = scores_by_unit(FOUND, 0)
    assert scores.nll.tolist() == [7.0, 8.0]
    assert scores.tokens.tolist() == [3, 1]
    assert scores.bytes.tolist() == [6, 5]


def test_a_block_is_a_unit() -> None:
    scores = scores_by_unit(FOUND, 10)
    assert scores.nll.tolist() == [3.0, 4.0, 8.0]
    assert scores.tokens.tolist() == [2, 1, 1]
    assert scores.bytes.tolist() == [3, 3, 5]


def test_random_numbers_are_those_of_the_tokens() -> None:
    first = fixed_random(np.array([1, 2, 3])).random(4)
    assert (fixed_random(np.array([1, 2, 3])).random(4) == first).all()
    assert (fixed_random(np.array([1, 2, 4])).random(4) != first).all()
    assert (fixed_random(np.array([[1, 2, 3], [9, 9, 9]]).T[:, 0]).random(4) == first).all()
