"""Span corruption against T5's functions, written out plainly from its paper's program."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.data.batches import Batch
from llmos.data.spans import CorruptedSpans, Corruption
from llmos.errors import RecipeError

PAD, END = 0, 1
SENTINELS = tuple(range(2, 102))
FIRST = 102  # of the other tokens


def corruption(share: float = 0.15, span_length: float = 3.0, sentinels: int = 100) -> Corruption:
    return Corruption(share, span_length, SENTINELS[:sentinels], END, PAD)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def t5_lengths(inputs_length: int, density: float, mean: float) -> tuple[int, int]:
    """`random_spans_helper`: tokens of text, and length of the targets."""

    def lengths(tokens: int) -> tuple[int, int]:
        noise = round(tokens * density)
        spans = round(noise / mean)
        return tokens - noise + spans + 1, noise + spans + 1

    tokens = inputs_length
    while lengths(tokens + 1)[0] <= inputs_length:
        tokens += 1
    return tokens, lengths(tokens)[1]


def t5_mask(length: int, density: float, mean: float, draw: np.random.Generator) -> list[bool]:
    """`random_spans_noise_mask`."""

    def segmentation(items: int, segments: int) -> list[int]:
        first = [place < segments - 1 for place in range(items - 1)]
        draw.shuffle(first)
        sizes = [1]
        for begins in first:
            if begins:
                sizes.append(1)
            else:
                sizes[-1] += 1
        return sizes

    noise = min(max(round(length * density), 1), length - 1)
    spans = max(round(noise / mean), 1)
    taken, kept = segmentation(noise, spans), segmentation(length - noise, spans)
    mask: list[bool] = []
    for k, n in zip(kept, taken, strict=True):
        mask += [False] * k + [True] * n
    return mask


def t5_sentinels(tokens: list[int], noise: list[bool]) -> list[int]:
    """`noise_span_to_unique_sentinel`, with the sentinels in the order of their names."""
    made: list[int] = []
    spans = 0
    for place, (token, hidden) in enumerate(zip(tokens, noise, strict=True)):
        if not hidden:
            made.append(token)
        elif not place or not noise[place - 1]:
            made.append(SENTINELS[spans])
            spans += 1
    return made


@pytest.mark.parametrize("share", [0.1, 0.15, 0.25, 0.3])
@pytest.mark.parametrize("span_length", [2.0, 3.0, 5.0])
def test_the_lengths_are_those_of_t5(share: float, span_length: float) -> None:
    for length in range(64, 700, 13):
        made = corruption(share, span_length, 100)
        tokens, targets = t5_lengths(length, share, span_length)
        if made.counts(tokens)[1] > 100:
            continue
        assert made.text_length(length) == tokens
        assert made.inputs_length(tokens) == length
        row = made.corrupt(np.full((1, tokens), FIRST), made.noise(1, tokens, random()))
        assert row["input_ids"].shape == (1, length)
        assert row["labels"].shape == row["decoder_input_ids"].shape == (1, targets)


def test_t5s_own_lengths() -> None:
    # The paper's 512 tokens with 15 % noise in spans of 3 come from 568, with targets of 114.
    assert corruption().text_length(512) == 568
    noise, spans = corruption().counts(568)
    assert noise + spans + 1 == 114


@settings(max_examples=80, deadline=None)
@given(
    rows=st.integers(1, 4),
    length=st.integers(2, 90),
    share=st.floats(0.01, 0.99),
    span_length=st.floats(1.0, 12.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_inputs_and_targets_are_t5s_and_give_the_text_back(
    rows: int, length: int, share: float, span_length: float, seed: int
) -> None:
    made = corruption(share, span_length)
    tokens = random(seed).integers(FIRST, 500, (rows, length))
    noise = made.noise(rows, length, random(seed))
    count, spans = made.counts(length)
    assert count == min(max(round(share * length), 1), length - 1)
    batch = made.corrupt(tokens, noise)
    for row in range(rows):
        text, hidden = tokens[row].tolist(), noise[row].tolist()
        assert not hidden[0] and hidden[-1] and sum(hidden) == count
        inputs, labels = batch["input_ids"][row].tolist(), batch["labels"][row].tolist()
        assert inputs == [*t5_sentinels(text, hidden), END]
        assert labels == [*t5_sentinels(text, [not h for h in hidden]), END]
        assert batch["decoder_input_ids"][row].tolist() == [PAD, *labels[:-1]]
        written: dict[int, list[int]] = {}
        for token in labels[:-1]:
            if token < FIRST:
                written[token] = []
            else:
                written[max(written)].append(token)
        assert list(written) == list(SENTINELS[:spans])
        back = [t for token in inputs[:-1] for t in written.get(token, [token])]
        assert back == text


def test_all_divisions_into_spans_are_equally_likely() -> None:
    made = corruption(0.5, 2.0)
    masks = Counter(tuple(mask) for mask in made.noise(20_000, 9, random()).tolist())
    noise, spans = made.counts(9)
    assert (noise, spans) == (4, 2)
    possible = []
    for kept in combinations(range(1, 5), 1):
        for taken in combinations(range(1, 4), 1):
            possible.append(
                (False,) * kept[0]
                + (True,) * taken[0]
                + (False,) * (5 - kept[0])
                + (True,) * (4 - taken[0])
            )
    assert set(masks) == set(possible)
    expected = 20_000 / len(possible)
    assert all(abs(n - expected) < 5 * np.sqrt(expected) for n in masks.values())


def test_share_and_length_of_spans_are_those_asked_for_and_t5s() -> None:
    mask = corruption().noise(3000, 568, random())
    lengths = np.diff(np.flatnonzero(np.diff(np.pad(mask, ((0, 0), (1, 1))).ravel())))[::2]
    assert abs(mask.mean() - 0.15) < 0.001
    assert abs(lengths.mean() - 3.0) < 0.05
    draw = np.random.default_rng(1)
    theirs = np.array([t5_mask(568, 0.15, 3.0, draw) for _ in range(300)])
    other = np.diff(np.flatnonzero(np.diff(np.pad(theirs, ((0, 0), (1, 1))).ravel())))[::2]
    ours, expected = (np.bincount(x, minlength=12)[:12] / len(x) for x in (lengths, other))
    assert (abs(ours - expected) < 5 * np.sqrt(expected / len(other)) + 1e-9).all()
    # Noise is as likely everywhere but at the ends, in both.
    assert abs(mask.mean(axis=0)[50:500] - theirs.mean(axis=0)[50:500]).mean() < 0.03


def test_too_many_spans_for_the_sentinels_are_refused() -> None:
    spans = corruption().counts(corruption().text_length(512))[1]
    assert corruption(sentinels=spans).text_length(512) == 568
    with pytest.raises(RecipeError, match=f"the tokenizer has {spans - 1}: lower it, raise"):
        corruption(sentinels=spans - 1).text_length(512)
    with pytest.raises(RecipeError, match="sentinels"):
        corruption(share=0.999, span_length=1.0).text_length(2000)


def test_the_shortest_row_has_one_token_of_text() -> None:
    made = corruption()
    length = made.text_length(3)
    assert length == 2 and made.inputs_length(length) == 3
    row = made.corrupt(np.array([[FIRST, FIRST + 1]]), made.noise(1, 2, random()))
    assert row["input_ids"].tolist() == [[FIRST, SENTINELS[0], END]]
    assert row["labels"].tolist() == [[SENTINELS[0], FIRST + 1, END]]
    with pytest.raises(RecipeError, match="raise it to 3"):
        made.text_length(2)


class Text:
    """Rows of text, the same every third step."""

    def batch(self, step: int, batch_size: int) -> Batch:
        return {"input_ids": random(step % 3).integers(FIRST, 500, (batch_size, 50))}


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    source = CorruptedSpans(Text(), corruption(), seed=5)
    first = source.batch(7, 4)
    source.batch(8, 4)
    again, fresh = source.batch(7, 4), CorruptedSpans(Text(), corruption(), seed=5).batch(7, 4)
    for name, array in first.items():
        assert array.dtype == np.int64
        assert (array == again[name]).all() and (array == fresh[name]).all()
    later, other = source.batch(10, 4), CorruptedSpans(Text(), corruption(), seed=6).batch(7, 4)
    assert (later["input_ids"] != first["input_ids"]).any()  # the same text
    assert (other["input_ids"] != first["input_ids"]).any()
