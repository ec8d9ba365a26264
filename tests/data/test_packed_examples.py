"""Examples packed into rows: none is split, none is lost, few places are empty."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.data.packed_examples import PackedExamples, best_fit
from llmos.errors import DataError

LENGTH = 12
PAD = {"input_ids": 0, "labels": -100}
some_sizes = st.lists(st.integers(1, LENGTH), min_size=1, max_size=30)


def packed(sizes: list[int], seed: int = 1) -> PackedExamples:
    """Examples whose ids tell the example and the place in it: 100, 101; 200, 201, 202."""
    examples = [
        {
            "input_ids": array("i", range(100 * n, 100 * n + size)),
            "labels": array("i", range(-100 * n, -100 * n - size, -1)),
        }
        for n, size in enumerate(sizes, start=1)
    ]
    return PackedExamples(examples, LENGTH, PAD, seed)


def naive_best_fit(sizes: list[int], length: int) -> list[int]:
    """The room left in each row, by looking at all rows each time."""
    rooms: list[int] = []
    for size in sizes:
        fitting = [row for row, room in enumerate(rooms) if room >= size]
        if not fitting:
            rooms.append(length - size)
        else:
            rooms[min(fitting, key=lambda row: rooms[row])] -= size
    return rooms


@given(some_sizes)
def test_best_fit_is_that_of_a_search_through_all_rows(sizes: list[int]) -> None:
    rows = best_fit(sizes, range(len(sizes)), LENGTH)
    assert sorted(n for row in rows for n in row) == list(range(len(sizes)))
    rooms = sorted(LENGTH - sum(sizes[n] for n in row) for row in rows)
    assert rooms == sorted(naive_best_fit(sizes, LENGTH))


@given(some_sizes, st.integers(1, 5), st.integers(0, 2**32))
def test_every_example_whole_and_once_an_epoch(
    sizes: list[int], batch_size: int, seed: int
) -> None:
    data = packed(sizes, seed)
    seen: list[int] = []
    step = 0
    while len(seen) < 3 * len(sizes):
        batch = data.batch(step, batch_size)
        step += 1
        for ids, labels, documents in zip(*batch.values(), strict=True):
            used = int((documents >= 0).sum())
            assert (ids[used:] == 0).all() and (labels[used:] == -100).all()
            for document in range(documents.max() + 1):
                (places,) = np.nonzero(documents == document)
                number = int(ids[places[0]]) // 100
                seen.append(number)
                assert ids[places].tolist() == list(
                    range(100 * number, 100 * number + sizes[number - 1])
                )
                np.testing.assert_array_equal(labels[places], -ids[places])
                assert (np.diff(places) == 1).all()
    for epoch in range(3):
        part = seen[epoch * len(sizes) : (epoch + 1) * len(sizes)]
        assert sorted(part) == list(range(1, len(sizes) + 1))


@given(some_sizes, st.integers(1, 5))
def test_a_batch_depends_on_its_step_alone(sizes: list[int], batch_size: int) -> None:
    data = packed(sizes)
    in_order = [data.batch(step, batch_size) for step in range(7)]
    for step in (6, 0, 3, 2, 3):
        again, alone = data.batch(step, batch_size), packed(sizes).batch(step, batch_size)
        for name, values in in_order[step].items():
            assert values.shape == (batch_size, LENGTH) and values.dtype == np.int64
            np.testing.assert_array_equal(values, again[name])
            np.testing.assert_array_equal(values, alone[name])


def test_rows_are_nearly_full() -> None:
    random = np.random.default_rng(3)
    sizes = random.integers(5, 100, 2000).tolist()
    rows = best_fit(sizes, sorted(range(2000), key=lambda n: -sizes[n]), 256)
    assert sum(sizes) / (256 * len(rows)) > 0.99


def test_the_longest_are_packed_first() -> None:
    # Two of 5 in a row would leave a 7 alone.
    assert len(packed([7] * 10 + [5] * 10).rows(0)) == 10


def test_epochs_are_packed_anew() -> None:
    data = packed([4] * 30)
    rows = [frozenset(data.batch(step, 1)["input_ids"][0, ::4].tolist()) for step in range(20)]
    assert set(rows[:10]) != set(rows[10:])


def test_no_examples() -> None:
    with pytest.raises(DataError, match="no example to train on: add"):
        packed([])
