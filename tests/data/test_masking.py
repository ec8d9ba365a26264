"""Hidden tokens: as many, and as often each way, as BERT's program hides them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.data.batches import IGNORE, Batch
from llmos.data.masking import EnclosedRows, MaskedTokens, Masking, masked_places

CLS, SEP, PAD, MASK, WORDS = 1, 2, 0, 3, 50
MASKING = Masking(share=0.15, mask=MASK, special=(PAD, CLS, SEP, MASK), vocabulary_size=WORDS)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def rows(lengths: list[int], width: int, seed: int = 1) -> np.ndarray:
    """[CLS] text [SEP] [PAD] ..., with one [SEP] more in the middle where there is room."""
    ids = random(seed).integers(4, WORDS, (len(lengths), width))
    for row, length in zip(ids, lengths, strict=True):
        row[0], row[length - 1], row[length:] = CLS, SEP, PAD
        if length > 5:
            row[length // 2] = SEP
    return ids


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 70), min_size=1, max_size=6),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32 - 1),
)
def test_each_row_hides_as_many_as_bert_and_nothing_special(
    lengths: list[int], share: float, seed: int
) -> None:
    ids = rows(lengths, 70)
    masking = Masking(share, MASK, (PAD, CLS, SEP, MASK), WORDS)
    hidden, labels = masking.hide(ids, np.array(lengths), random(seed))
    chosen = labels != IGNORE
    for row, length in enumerate(lengths):
        text = int((ids[row] > MASK).sum())
        assert chosen[row].sum() == min(max(1, round(length * share)), text)
        assert chosen[row].sum() <= masking.most(70)
    assert (ids[chosen] > MASK).all()
    assert (labels[chosen] == ids[chosen]).all()
    assert (hidden[~chosen] == ids[~chosen]).all()


def test_of_the_chosen_80_percent_are_masked_10_random_and_10_kept() -> None:
    ids = rows([128] * 2000, 128)
    hidden, labels = MASKING.hide(ids, np.full(2000, 128), random())
    chosen = labels != IGNORE
    total = int(chosen.sum())
    assert total == 2000 * round(0.15 * 128)
    masked = int((hidden[chosen] == MASK).sum())
    kept = int((hidden[chosen] == ids[chosen]).sum())
    # A random token is the old one, or [MASK], in one of 50 draws each. Five standard deviations.
    for found, share in ((masked, 0.8 + 0.1 / WORDS), (kept, 0.1 + 0.1 / WORDS)):
        assert abs(found - total * share) < 5 * np.sqrt(total * share * (1 - share))
    others = hidden[chosen & (hidden != MASK) & (hidden != ids)]
    counts = np.bincount(others, minlength=WORDS)
    assert counts[MASK] == 0
    expected = total * 0.1 / WORDS
    rest = np.delete(counts, MASK)
    assert (abs(rest - expected) < 5 * np.sqrt(expected)).all()  # all of the vocabulary alike


def test_every_token_of_a_row_is_as_likely_as_another() -> None:
    ids = np.tile(rows([20], 24), (20_000, 1))
    _, labels = MASKING.hide(ids, np.full(20_000, 20), random())
    counts = (labels != IGNORE).sum(axis=0)
    text = ids[0] > MASK
    expected = 20_000 * 3 / text.sum()
    assert (counts[~text] == 0).all()
    assert (abs(counts[text] - expected) < 5 * np.sqrt(expected)).all()


class Plain:
    """Batches of rows of text, some with padding."""

    def batch(self, step: int, batch_size: int) -> Batch:
        ids = rows([30 - 5 * (row % 3) for row in range(batch_size)], 30, seed=step % 3)
        return {"input_ids": ids, "attention_mask": (ids != PAD).astype(np.int64)}


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    source = MaskedTokens(Plain(), MASKING, 30, seed=5)
    first = source.batch(7, 4)
    source.batch(8, 4)
    again, fresh = source.batch(7, 4), MaskedTokens(Plain(), MASKING, 30, seed=5).batch(7, 4)
    for name, array in first.items():
        assert array.dtype == np.int64
        assert (array == again[name]).all() and (array == fresh[name]).all()
    other = MaskedTokens(Plain(), MASKING, 30, seed=6).batch(7, 4)
    later = source.batch(10, 4)  # the same text
    assert (other["labels"] != first["labels"]).any()
    assert (later["labels"] != first["labels"]).any()


def test_the_masked_places_are_those_with_labels_first() -> None:
    batch = MaskedTokens(Plain(), MASKING, 30, seed=5).batch(0, 6)
    places, labels = batch["masked_places"], batch["labels"]
    assert places.shape == (6, round(0.15 * 30))
    for row in range(6):
        wanted = np.flatnonzero(labels[row] != IGNORE)
        assert places[row, : len(wanted)].tolist() == wanted.tolist()
        assert (labels[row, places[row, len(wanted) :]] == IGNORE).all()


def test_there_are_no_more_places_than_the_row_has() -> None:
    assert masked_places(np.array([[IGNORE, 7]]), 9).tolist() == [[1, 0]]


def test_full_rows_stand_between_their_marks() -> None:
    batch = EnclosedRows(Plain(), CLS, SEP).batch(1, 3)
    assert list(batch) == ["input_ids"]
    assert (batch["input_ids"][:, 1:-1] == Plain().batch(1, 3)["input_ids"]).all()
    assert (batch["input_ids"][:, [0, -1]] == [CLS, SEP]).all()


def test_half_a_token_rounds_to_the_even_number_as_in_python() -> None:
    masking = Masking(0.25, MASK, MASKING.special, WORDS)
    for length in (6, 10, 14, 18):
        _, labels = masking.hide(rows([length], 20), np.array([length]), random())
        assert (labels != IGNORE).sum() == round(length / 4)


@pytest.mark.parametrize("length", [2, 3])
def test_a_row_of_marks_alone_hides_nothing(length: int) -> None:
    ids = np.array([[CLS, SEP, SEP][:length]])
    hidden, labels = MASKING.hide(ids, np.array([length]), random())
    assert (hidden == ids).all() and (labels == IGNORE).all()
