"""MinHash: the share of pairs found against the formula, and independence of the batch."""

from __future__ import annotations

import random
from math import sqrt

import numpy as np

from llmos.data.dedup.minhash import BANDS, BATCH, ROWS, bands

WORDS = [f"{a}{b}" for a in "bdfgklmnprstvz" for b in ("an", "el", "im", "or", "us", "ay", "ek")]
CHANGED = (1, 1, 2, 3, 3, 4, 5, 6, 8, 10, 12)  # words of a copy, of 150


def shingle_set(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


def test_pairs_are_found_as_often_as_the_formula_says() -> None:
    draw = random.Random(4)
    texts, expected, similarities = [], [], []
    for _ in range(900):
        words = draw.choices(WORDS, k=150)
        copy = list(words)
        for place in draw.sample(range(150), draw.choice(CHANGED)):
            copy[place] = draw.choice(WORDS)
        one, other = shingle_set(words), shingle_set(copy)
        similarity = len(one & other) / len(one | other)
        similarities.append(similarity)
        expected.append(1 - (1 - similarity**ROWS) ** BANDS)
        texts += [" ".join(words), " ".join(copy)]
    which, found = bands(texts)
    assert len(which) == len(texts)
    shared = (found[0::2] == found[1::2]).any(axis=1)
    for low, high in ((0.3, 0.5), (0.5, 0.65), (0.65, 0.8), (0.8, 0.9), (0.9, 1.0)):
        rows = [n for n, s in enumerate(similarities) if low <= s < high]
        assert len(rows) > 60
        mean = sum(expected[n] for n in rows)
        deviation = sqrt(sum(expected[n] * (1 - expected[n]) for n in rows))
        assert abs(shared[rows].sum() - mean) < 4 * deviation + 1
    # Each band on its own, too: they are independent of each other.
    agree = (found[0::2] == found[1::2]).mean(axis=0)
    mean = np.mean(np.array(similarities) ** ROWS)
    assert np.abs(agree - mean).max() < 4 * sqrt(mean * (1 - mean) / len(similarities))


def test_texts_without_relation_share_no_band() -> None:
    draw = random.Random(5)
    _, found = bands([" ".join(draw.choices(WORDS, k=draw.randrange(5, 80))) for _ in range(2000)])
    assert len(np.unique(found)) == found.size


def test_bands_of_a_text_do_not_depend_on_its_neighbours() -> None:
    draw = random.Random(6)
    texts = [" ".join(draw.choices(WORDS, k=draw.choice((0, 3, 5, 40, 4000)))) for _ in range(120)]
    assert sum(map(len, texts)) > 2 * BATCH
    which, found = bands(texts)
    alone = [bands([text]) for text in texts]
    assert which.tolist() == [n for n, (some, _) in enumerate(alone) if len(some)]
    assert np.array_equal(found, np.concatenate([own for _, own in alone]))


def test_a_long_text_is_found_near_its_copy() -> None:
    draw = random.Random(7)
    words = draw.choices(WORDS, k=4 * BATCH // 4)
    text = " ".join(words)
    assert len(text) > 3 * BATCH
    _, found = bands([text, text, "start " + text, "\n".join(words[: len(words) // 4]), "a b c"])
    assert found.shape == (4, BANDS)
    assert np.array_equal(found[0], found[1])
    assert (found[0] == found[2]).any()
    assert not (found[0] == found[3]).any()
