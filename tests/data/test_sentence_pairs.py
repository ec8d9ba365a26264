"""Sentence pairs against a plain version of BERT's program, on documents whose tokens say where
they are from.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.data import sentence_pairs
from llmos.data.sentence_pairs import Marks, Pairs, SentencePairs, Sentences, fit
from llmos.errors import DataError

CLS, SEP, PAD = 1, 2, 0
MARKS = Marks(CLS, SEP, PAD)
SPAN = 10_000  # token = SPAN * (document + 1) + place in it


def documents(sizes: Sequence[Sequence[int]]) -> list[Sentences]:
    """Documents by the sizes of their sentences."""
    return [
        Sentences(
            np.arange(sum(of), dtype=np.uint32) + np.uint32(SPAN * (number + 1)),
            np.array(of, np.int64),
        )
        for number, of in enumerate(sizes)
    ]


def source(
    sizes: Sequence[Sequence[int]], length: int = 40, seed: int = 3, groups: Sequence[int] = ()
) -> SentencePairs:
    kind = np.array(groups or [0] * len(sizes))
    arrays = {group: np.flatnonzero(kind == group) for group in set(kind.tolist())}
    return SentencePairs(
        documents(sizes), [arrays[group] for group in kind.tolist()], length, seed, MARKS
    )


def some_sizes(number: int, seed: int = 0) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randint(1, 14) for _ in range(draw.randint(2, 30))] for _ in range(number)]


def segments(batch: dict[str, np.ndarray], row: int) -> tuple[list[int], list[int]]:
    """The two segments of a row, whose form is checked on the way."""
    ids, types = batch["input_ids"][row], batch["token_type_ids"][row]
    size = int(batch["attention_mask"][row].sum())
    assert batch["attention_mask"][row].tolist() == [1] * size + [0] * (len(ids) - size)
    assert (ids[size:] == PAD).all()
    assert ids[0] == CLS and ids[size - 1] == SEP
    (middle,) = np.flatnonzero(ids[: size - 1] == SEP)
    assert types.tolist() == [0] * (middle + 1) + [1] * (size - middle - 1) + [0] * (
        len(ids) - size
    )
    return ids[1:middle].tolist(), ids[middle + 1 : size - 1].tolist()


def test_a_row_is_two_stretches_that_follow_one_another_or_are_of_two_documents() -> None:
    sizes = some_sizes(12)
    pairs = source(sizes)
    batch = pairs.batch(0, pairs.rows)
    for row in range(pairs.rows):
        a, b = segments(batch, row)
        assert a and b and len(a) + len(b) <= 37
        for part in (a, b):
            assert part == list(range(part[0], part[0] + len(part)))
        is_random = batch["next_sentence_label"][row]
        assert (a[0] // SPAN != b[0] // SPAN) == is_random
        if not is_random and len(a) + len(b) < 37:  # nothing was cut off
            assert b[0] == a[-1] + 1
        if not is_random:
            assert b[0] > a[-1]


def test_an_epoch_goes_through_the_documents_sentence_by_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sentence_pairs, "SHORT", 0.0)
    sizes = some_sizes(30, seed=4)
    pairs = source(sizes, length=1000).pairs(0)  # no document is too long, so nothing is cut off
    texts = documents(sizes)
    first = np.cumsum([0, *(len(text.tokens) for text in texts)])
    sentence_starts = {0, *np.cumsum(np.concatenate([text.sizes for text in texts])).tolist()}
    for number, of in enumerate(sizes):
        ends = (np.cumsum([0, *of]) + first[number]).tolist()
        here = (pairs.start[:, 0] >= first[number]) & (pairs.start[:, 0] < first[number + 1])
        order = np.argsort(pairs.start[here, 0])
        at = first[number]
        for start, size, is_random in zip(
            pairs.start[here][order],
            pairs.size[here][order],
            pairs.random[here][order],
            strict=True,
        ):
            assert start[0] == at
            assert set(start.tolist()) <= sentence_starts
            at += size[0]
            assert at in ends[1:-1]
            if not is_random:
                assert start[1] == at and at + size[1] == ends[-1]  # as much as there is
                at += size[1]
        assert at in ends[-2:]  # a lone last sentence is left out


def test_half_of_the_pairs_are_random_and_from_any_other_document_of_the_group() -> None:
    sizes = some_sizes(40, seed=1)
    groups = [number % 3 for number in range(40)]
    pairs = source(sizes, groups=groups)
    total = chosen = 0
    partners = np.zeros((40, 40), int)
    for epoch in range(40):
        drawn = pairs.pairs(epoch)
        total += len(drawn.random)
        chosen += int(drawn.random.sum())
        tokens = np.concatenate([text.tokens for text in documents(sizes)])
        found = tokens[drawn.start[drawn.random == 1]] // SPAN - 1
        np.add.at(partners, (found[:, 0], found[:, 1]), 1)
    assert abs(chosen - total / 2) < 5 * np.sqrt(total / 4)
    for d in range(40):
        others = [other for other in range(40) if groups[other] == groups[d] and other != d]
        assert partners[d].sum() == partners[d, others].sum()
        expected = partners[d].sum() / len(others)
        assert (abs(partners[d, others] - expected) < 5.5 * np.sqrt(expected)).all()


def test_a_document_alone_is_its_own_partner() -> None:
    pairs = source([[5] * 50])
    drawn = pairs.pairs(0)
    assert 0 < drawn.random.sum() < len(drawn.random)
    assert (drawn.start + drawn.size <= 250).all()


def bert(
    sizes: Sequence[Sequence[int]], room: int, draw: random.Random
) -> list[tuple[int, int, bool]]:
    """The sizes of a and b and whether b is random, as create_instances_from_document makes them
    (without short rows, and with the second sentence that this package asks for).
    """
    made = []
    for number, document in enumerate(sizes):
        i = 0
        chunk: list[int] = []
        while i < len(document):
            chunk.append(document[i])
            if i == len(document) - 1 or (sum(chunk) >= room and len(chunk) > 1):
                if len(chunk) > 1:
                    a_end = draw.randint(1, len(chunk) - 1)
                    a = sum(chunk[:a_end])
                    is_random = draw.random() < 0.5
                    b = 0
                    if is_random:
                        other = draw.choice([d for d in range(len(sizes)) if d != number])
                        for size in sizes[other][draw.randint(0, len(sizes[other]) - 1) :]:
                            b += size
                            if b >= room - a:
                                break
                        i -= len(chunk) - a_end
                    else:
                        b = sum(chunk[a_end:])
                    while a + b > room:
                        if a > b:
                            a -= 1
                        else:
                            b -= 1
                    made.append((a, b, is_random))
                chunk = []
            i += 1
    return made


def test_sizes_are_distributed_as_in_berts_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_pairs, "SHORT", 0.0)
    sizes = some_sizes(60, seed=2)
    draw = random.Random(8)
    expected = np.array([row for _ in range(60) for row in bert(sizes, 37, draw)])
    ours = source(sizes)
    drawn = [ours.pairs(epoch) for epoch in range(60)]
    found = np.concatenate([np.column_stack([pairs.size, pairs.random]) for pairs in drawn])
    assert abs(len(found) / len(expected) - 1) < 0.02
    for is_random in (0, 1):
        a, b = (x[x[:, 2] == is_random][:, :2] for x in (expected, found))
        error = np.hypot(a.std(axis=0) / np.sqrt(len(a)), b.std(axis=0) / np.sqrt(len(b)))
        assert (abs(a.mean(axis=0) - b.mean(axis=0)) < 5 * error).all()
        assert (abs(a.std(axis=0) / b.std(axis=0) - 1) < 0.05).all()


def test_one_row_in_ten_is_short() -> None:
    pairs = source([[1] * 40_000, [1] * 40_000], length=53)
    total = pairs.pairs(0).size.sum(axis=1)
    short = total < 50
    share = short.mean()
    assert abs(share - 0.1 * 48 / 49) < 5 * np.sqrt(0.09 / len(total))
    # With sentences of one token each, all sizes from 2 on are as likely.
    assert total.min() == 2
    assert abs(total[short].mean() - (2 + 49) / 2) < 5 * 14 / np.sqrt(short.sum())


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1), st.integers(2, 40))
def test_tokens_go_from_the_longer_segment_one_by_one(
    sizes: list[tuple[int, int]], room: int
) -> None:
    found = fit(np.array([a for a, _ in sizes]), np.array([b for _, b in sizes]), room)
    for (a, b), result in zip(sizes, found.tolist(), strict=True):
        while a + b > room:
            if a > b:
                a -= 1
            else:
                b -= 1
        assert result == [a, b]


def test_what_is_cut_off_goes_from_both_ends() -> None:
    pairs = source([[15, 15] for _ in range(400)], length=23).pairs(0)
    whole = pairs.size.sum(axis=1) == 20
    assert whole.sum() > 250
    # Sentences of 15 tokens are cut in two, of which 10 are left by a binomial number of steps.
    assert set(np.unique(pairs.start[whole] % 15).tolist()) >= {1, 2, 3}


def test_a_sentence_longer_than_half_a_row_is_read_in_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sentence_pairs, "SHORT", 0.0)
    pairs = source([[500, 3], [7, 8, 9]])
    seen = np.zeros(527, bool)
    for epoch in range(8):
        drawn = pairs.pairs(epoch)
        for start, size in zip(drawn.start.ravel(), drawn.size.ravel(), strict=True):
            seen[start : start + size] = True
    assert seen.all()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 90), min_size=1, max_size=12), min_size=1, max_size=5).filter(
        lambda sizes: any(len(of) > 1 for of in sizes)
    ),
    st.integers(5, 60),
    st.integers(0, 2**32 - 1),
)
def test_rows_are_well_formed_whatever_the_documents(
    sizes: list[list[int]], length: int, seed: int
) -> None:
    pairs = source(sizes, length, seed)
    batch = pairs.batch(3, 7)
    assert batch["input_ids"].shape[1] <= length
    for row in range(7):
        a, b = segments(batch, row)
        assert a and b
        assert a[0] // SPAN == a[-1] // SPAN and b[0] // SPAN == b[-1] // SPAN
        if len(sizes) > 1:
            assert (a[0] // SPAN != b[0] // SPAN) == batch["next_sentence_label"][row]


def test_a_row_depends_on_seed_and_number_alone() -> None:
    sizes = some_sizes(6, seed=5)
    pairs = source(sizes)
    rows = pairs.rows

    def row(of: SentencePairs, step: int, size: int, number: int) -> tuple[list[int], list[int]]:
        return segments(of.batch(step, size), number)

    border = [row(pairs, rows * 2 - 3 + k, 1, 0) for k in range(6)]
    fresh = source(sizes)
    step, first = divmod(rows * 2 - 3, 6)
    together = [
        row(fresh, step + (first + k) // 6, 6, (first + k) % 6) for k in range(6)
    ]  # in batches of 6, over the border of two epochs
    assert border == together
    assert border == [row(pairs, rows * 2 - 3 + k, 1, 0) for k in range(6)]
    other = source(sizes, seed=4)
    assert border != [row(other, rows * 2 - 3 + k, 1, 0) for k in range(6)]


def test_each_epoch_is_drawn_anew_and_shuffled() -> None:
    pairs = source(some_sizes(20, seed=6))
    first, second = pairs.pairs(0), pairs.pairs(1)
    assert (first.start[:20, 0] != second.start[:20, 0]).any()
    for drawn in (first, second):
        assert np.corrcoef(drawn.start[:, 0], np.arange(len(drawn.start)))[0, 1] < 0.3
    assert {tuple(x) for x in first.start.tolist()} != {tuple(x) for x in second.start.tolist()}
    assert isinstance(first, Pairs)


def test_documents_of_one_sentence_are_only_partners() -> None:
    pairs = source([[4], [5, 6], [7]])
    drawn = [pairs.pairs(epoch) for epoch in range(30)]
    assert {int(start) for pairs in drawn for start in pairs.start[:, 0]} == {4}
    partners = {int(p.start[0, 1]) for p in drawn if p.random[0]}
    assert partners == {0, 15}
    with pytest.raises(DataError, match="next_sentence = false"):
        source([[4], [5], [7]])
