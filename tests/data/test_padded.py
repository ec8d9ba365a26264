"""Batches of padded examples: each example once an epoch, like lengths together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.data.padded import PaddedExamples, pad_rows
from llmos.errors import DataError

PAD = {"input_ids": 0, "labels": -100}


def examples(lengths: list[int]) -> list[dict[str, list[int] | int]]:
    """An example of each length, all with numbers of their own."""
    return [
        {"input_ids": [9] * length, "labels": [9] * (2 * length), "number": number}
        for number, length in enumerate(lengths)
    ]


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=40),
    st.integers(1, 12),
    st.integers(0, 2**32),
)
def test_every_example_once_an_epoch(lengths: list[int], batch_size: int, seed: int) -> None:
    data = PaddedExamples(examples(lengths), PAD, seed)
    steps = -(-3 * len(lengths) // batch_size)
    seen = np.concatenate([data.batch(step, batch_size)["number"] for step in range(steps)])
    for epoch in range(3):
        part = seen[epoch * len(lengths) : (epoch + 1) * len(lengths)]
        assert sorted(part) == list(range(len(lengths)))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 7))
def test_a_batch_depends_on_its_step_alone(lengths: list[int], batch_size: int) -> None:
    data = PaddedExamples(examples(lengths), PAD, 1)
    in_order = [data.batch(step, batch_size) for step in range(9)]
    for step in (8, 0, 5, 4, 5):
        again = data.batch(step, batch_size)
        alone = PaddedExamples(examples(lengths), PAD, 1).batch(step, batch_size)
        for name, array in in_order[step].items():
            np.testing.assert_array_equal(array, again[name])
            np.testing.assert_array_equal(array, alone[name])


def test_rows_are_padded_at_the_right_to_the_longest_of_the_batch() -> None:
    rows = [
        {"input_ids": [1, 2], "labels": [3], "place": 5},
        {"input_ids": [4], "labels": [], "place": 6},
    ]
    batch = pad_rows(rows, PAD)
    assert {name: array.tolist() for name, array in batch.items()} == {
        "input_ids": [[1, 2], [4, 0]],
        "labels": [[3], [-100]],
        "place": [5, 6],
    }
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}


def test_epochs_differ_and_seeds_differ() -> None:
    lengths = [5] * 40
    data = PaddedExamples(examples(lengths), PAD, 1)
    first, second = data.batch(0, 40)["number"], data.batch(1, 40)["number"]
    other = PaddedExamples(examples(lengths), PAD, 2).batch(0, 40)["number"]
    assert not np.array_equal(first, second) and not np.array_equal(first, other)


def test_batches_are_of_like_lengths_in_a_random_order() -> None:
    random = np.random.default_rng(3)
    lengths = (1 + random.geometric(0.1, 4000)).tolist()
    data = PaddedExamples(examples(lengths), PAD, 1)
    widths, padding, places = [], 0, 0
    for step in range(4000 // 32):
        batch = data.batch(step, 32)
        widths.append(batch["input_ids"].shape[1])
        padding += int((batch["input_ids"] == 0).sum())
        places += batch["input_ids"].size
    in_order = [lengths[i : i + 32] for i in range(0, 4000, 32)]
    unsorted = sum(max(group) * len(group) - sum(group) for group in in_order)
    assert padding / places < 0.05 and padding < unsorted / 20
    # Neither rising nor falling: the short ones do not all come first.
    assert abs(np.corrcoef(widths, np.arange(len(widths)))[0, 1]) < 0.3


def test_batches_stay_of_like_lengths_in_later_epochs() -> None:
    # 100 examples in batches of 7: each epoch begins within a batch.
    data = PaddedExamples(examples([3] * 50 + [9] * 50), PAD, 1)
    mixed = 0
    for step in range(5 * 100 // 7):
        rows = data.batch(step, 7)["input_ids"]
        mixed += len(set((rows > 0).sum(axis=1).tolist())) > 1
    assert mixed <= 10  # at the border of two epochs, and where the lengths meet


def test_examples_of_one_length_meet_others_in_each_epoch() -> None:
    data = PaddedExamples(examples([5] * 8 + [7] * 8), PAD, 1)
    together = {frozenset(data.batch(step, 4)["number"].tolist()) for step in range(8)}
    assert len(together) == 8


def test_no_examples() -> None:
    with pytest.raises(DataError, match="no example to train on: add"):
        PaddedExamples([], PAD, 1)
