"""Packing: what a step sees depends on (tokens, length, seed, step, batch size) alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.data.packing import PackedSequences, pack
from llmos.errors import DataError

lengths = st.integers(2, 12)
# Every token is its own position, so that a row says where it was cut.
settings = st.tuples(lengths, st.integers(0, 70), st.integers(0, 2**32 - 1))


def sequences(length: int, more: int, seed: int) -> PackedSequences:
    return PackedSequences(np.arange(length + 1 + more, dtype=np.uint16), length, seed)


def rows_of(data: PackedSequences, step: int, batch_size: int) -> npt.NDArray[np.int64]:
    """The runs of `length` + 1 tokens that a batch was cut from, (B, T + 1)."""
    batch = data.batch(step, batch_size)
    assert set(batch) == {"input_ids", "labels"}
    for array in batch.values():
        assert array.shape == (batch_size, data.length)
        assert array.dtype == np.int64
    # A label is the next token: what follows the last input is the last label.
    np.testing.assert_array_equal(batch["labels"][:, :-1], batch["input_ids"][:, 1:])
    return np.concatenate([batch["input_ids"], batch["labels"][:, -1:]], axis=1)


def test_documents_stand_between_separators() -> None:
    packed = pack([[5, 6], [], [7]], separator=0, vocabulary_size=300)
    assert packed.tolist() == [0, 5, 6, 0, 0, 7, 0]
    assert pack([], separator=3, vocabulary_size=300).tolist() == [3]


@pytest.mark.parametrize(("size", "kind"), [(260, "uint16"), (65536, "uint16"), (65537, "uint32")])
def test_tokens_take_two_bytes_while_they_fit(size: int, kind: str) -> None:
    packed = pack([[size - 1]], separator=0, vocabulary_size=size)
    assert packed.dtype == kind
    assert packed.tolist() == [0, size - 1, 0]


def test_a_token_beyond_the_vocabulary_is_not_wrapped_around() -> None:
    with pytest.raises(OverflowError):
        pack([[65536]], separator=0, vocabulary_size=65536)


@given(settings, st.integers(0, 40), st.integers(1, 5))
def test_rows_are_runs_of_the_text_with_one_token_more(
    setting: tuple[int, int, int], step: int, batch_size: int
) -> None:
    data = sequences(*setting)
    rows = rows_of(data, step, batch_size)
    # Consecutive positions: targets are the inputs one further, and nothing wraps around.
    np.testing.assert_array_equal(rows[:, 1:], rows[:, :-1] + 1)
    assert rows.min() >= 0
    assert rows.max() <= len(data.tokens) - 1


@given(settings, st.integers(0, 4))
def test_every_sequence_of_an_epoch_occurs_exactly_once(
    setting: tuple[int, int, int], epoch: int
) -> None:
    data = sequences(*setting)
    rows = np.concatenate(
        [
            rows_of(data, step, 1)
            for step in range(epoch * data.sequences, (epoch + 1) * data.sequences)
        ]
    )
    starts = np.sort(rows[:, 0])
    np.testing.assert_array_equal(np.diff(starts), data.length)
    assert len(starts) == data.sequences
    # So no target is trained on twice in an epoch, and fewer than 2 sequences are left out.
    assert len(np.unique(rows[:, 1:])) == data.sequences * data.length
    assert len(data.tokens) - 1 - data.sequences * data.length < 2 * data.length


def test_cuts_are_shifted_over_their_whole_room_from_epoch_to_epoch() -> None:
    data = sequences(4, 16, seed=1)  # 21 tokens: 4 sequences of 4, room for shifts of 0 to 4
    shifts = {int(rows_of(data, epoch, data.sequences)[:, 0].min()) for epoch in range(200)}
    assert data.sequences == 4
    assert shifts == {0, 1, 2, 3, 4}


def test_the_order_changes_with_epoch_and_seed() -> None:
    a, b = sequences(2, 100, seed=1), sequences(2, 100, seed=2)
    first = rows_of(a, 0, a.sequences)
    assert not np.array_equal(first, rows_of(a, 1, a.sequences))
    assert not np.array_equal(first, rows_of(b, 0, b.sequences))


def same(a: dict[str, npt.NDArray[Any]], b: dict[str, npt.NDArray[Any]]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@given(settings, st.integers(1, 9), st.lists(st.integers(0, 60), min_size=1, max_size=8))
def test_a_batch_is_the_same_whatever_was_read_before(
    setting: tuple[int, int, int], batch_size: int, steps: list[int]
) -> None:
    used = sequences(*setting)
    for step in steps:
        fresh = sequences(*setting)
        same(used.batch(step, batch_size), fresh.batch(step, batch_size))


@given(settings, st.integers(1, 5), st.integers(0, 30), st.integers(1, 10))
def test_resumed_at_any_step_the_stream_goes_on_as_if_uninterrupted(
    setting: tuple[int, int, int], batch_size: int, stop: int, more: int
) -> None:
    whole = sequences(*setting)
    uninterrupted = [whole.batch(step, batch_size) for step in range(stop + more)]
    resumed = sequences(*setting)
    for step in range(stop, stop + more):
        same(resumed.batch(step, batch_size), uninterrupted[step])


@given(settings, st.integers(1, 4), st.integers(1, 4))
def test_the_stream_of_rows_does_not_depend_on_how_it_is_batched(
    setting: tuple[int, int, int], a: int, b: int
) -> None:
    data = sequences(*setting)
    by_a = np.concatenate([rows_of(data, step, a) for step in range(b)])
    by_b = np.concatenate([rows_of(data, step, b) for step in range(a)])
    np.testing.assert_array_equal(by_a, by_b)


def test_known_batches_stay_as_they_are() -> None:
    # A run begun with one version of NumPy or llmos must go on with another.
    data = PackedSequences(np.arange(40, dtype=np.uint16), 4, seed=11)
    starts = [data.batch(step, 2)["input_ids"][:, 0].tolist() for step in range(6)]
    assert starts == [[18, 14], [10, 26], [30, 6], [34, 22], [11, 7], [27, 31]]


def test_a_text_of_a_trillion_tokens_takes_no_memory() -> None:
    class Positions:
        def __len__(self) -> int:
            return 10**12

        def __getitem__(self, part: slice) -> npt.NDArray[np.unsignedinteger]:
            return np.arange(part.start, part.stop, dtype=np.uint64)

    data = PackedSequences(Positions(), 2048, seed=1)
    step = (2 * data.sequences - 8) // 17
    batch = data.batch(step, 17)
    assert step * 17 < 2 * data.sequences < step * 17 + 17  # at the border of two epochs
    starts = batch["input_ids"][:, 0]
    np.testing.assert_array_equal(batch["labels"], starts[:, None] + np.arange(1, 2049))
    assert len(set(starts.tolist())) == 17 and starts.max() > 10**11
    assert len({start % 2048 for start in starts.tolist()}) == 2  # each epoch has its own shift


def test_too_little_text_is_refused_with_the_next_step() -> None:
    PackedSequences(np.zeros(9, np.uint16), 8, seed=0)
    with pytest.raises(DataError, match=r"only 8 tokens .* of 8: .*training.sequence_length"):
        PackedSequences(np.zeros(8, np.uint16), 8, seed=0)


@given(
    st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=9),
    lengths,
    st.integers(0, 20),
)
def test_document_ids_say_which_tokens_are_of_one_document(
    documents: list[list[int]], length: int, step: int
) -> None:
    tokens = pack(documents * 12, 0, 300)
    # The document that each place of the text is of: a separator belongs to the one it begins.
    of = np.repeat(np.arange(12 * len(documents)), [1 + len(d) for d in documents * 12])
    of = np.append(of, 12 * len(documents))
    plain = PackedSequences(tokens, length, seed=4)
    batch = PackedSequences(tokens, length, seed=4, separator=0).batch(step, 3)
    found = batch.pop("document_ids")
    same(batch, plain.batch(step, 3))  # what is read does not change
    assert found.shape == (3, length) and found.dtype == np.int64
    for row in range(3):
        start = plain.starts(np.array([step * 3 + row]))[0]
        there = of[start : start + length]
        # Equal ids exactly where the documents are equal.
        np.testing.assert_array_equal(
            found[row][:, None] == found[row][None, :], there[:, None] == there[None, :]
        )
