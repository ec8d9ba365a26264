"""Mixtures: exact shares, each text's sequences once an epoch, any step without those before."""

from __future__ import annotations

from collections import Counter
from copy import copy
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.data.mixture import PERIOD, Group, Mixture, mix, mixture_shares, turns, weights_of
from llmos.data.packing import JoinedTokens, PackedSequences
from llmos.errors import DataError, RecipeError
from llmos.recipe import DataSection, Recipe

LENGTH = 4
EN, SW, ZH = Group("en", "web"), Group("sw", "web"), Group("zh", "books")


def data_of(temperature: float = 1.0, weights: tuple[str, ...] = ()) -> DataSection:
    values = {"data.mixture_temperature": temperature, "data.mixture_weights": list(weights)}
    return Recipe(name="test").with_values(values).data


def text(sequences: int, first: int) -> npt.NDArray[np.uint32]:
    """Tokens that are their own position, from `first` on, of so many sequences an epoch."""
    return np.arange(first, first + (sequences + 1) * LENGTH + 1, dtype=np.uint32)


def test_shares_by_temperature_are_those_of_the_papers() -> None:
    # XLM-R (arXiv 1911.02116) with alpha = 1/T: q_i = p_i^alpha / sum of p_j^alpha.
    tokens = [1_000_000, 10_000, 100]
    for temperature in (1.0, 2.0, 1 / 0.3):
        p = np.array(tokens) / sum(tokens)
        expected = p ** (1 / temperature) / (p ** (1 / temperature)).sum()
        np.testing.assert_allclose(mixture_shares([EN, SW, ZH], tokens, temperature), expected)
    # By hand: square roots of 1, 1/100 and 1/10000 of it are as 100 to 10 to 1.
    halves = mixture_shares([EN, SW, ZH], tokens, 2.0)
    np.testing.assert_allclose(halves, np.array([100, 10, 1]) / 111)


def test_weights_are_of_languages_and_temperature_divides_them_among_sources() -> None:
    groups = [EN, Group("en", "books"), SW, Group("", "web")]
    weights = weights_of(data_of(weights=("en=2", "sw=1", "und=1", "fr=7")))
    shares = mixture_shares(groups, [900, 100, 5, 5], 2.0, weights)
    np.testing.assert_allclose(shares, [0.5 * 3 / 4, 0.5 * 1 / 4, 0.25, 0.25])


def test_a_language_without_a_weight_is_refused() -> None:
    with pytest.raises(DataError, match=r"no weight for the language 'sw'.*\"sw=1\""):
        mixture_shares([EN, SW], [10, 10], 1.0, {"en": 1.0})
    with pytest.raises(DataError, match=r"are 0 for all languages of the text \(en\)"):
        mixture_shares([EN], [10], 1.0, {"en": 0.0, "fr": 1.0})
    with pytest.raises(RecipeError, match="names 'en' twice"):
        weights_of(data_of(weights=("en=2", "en=1")))
    with pytest.raises(RecipeError, match="a language and its weight such as en=2"):
        data_of(weights=("en:2",))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(1e-4, 1.0), min_size=2, max_size=12), st.integers(0, 2**32 - 1))
def test_no_group_is_ever_a_row_ahead_of_its_share_or_behind(shares: list[float], at: int) -> None:
    made = turns(np.array(shares))
    exact = np.array(shares) / sum(shares) * PERIOD
    assert made.units.sum() == PERIOD
    assert np.abs(made.units - exact).max() <= 1  # largest remainders
    bound = 1 - 1 / (2 * len(shares) - 2)  # Tijdeman 1980
    rows = np.arange(1, PERIOD + 1)
    for group, units in enumerate(made.units.tolist()):
        seen = np.cumsum(made.group == group)
        assert seen[-1] == units
        assert np.abs(seen - rows * units / PERIOD).max() <= bound + 1e-9
        # Between any two rows: less than two.
        start = at % PERIOD
        in_window = seen - seen[start] - (rows - start - 1) * units / PERIOD
        assert np.abs(in_window).max() < 2


def test_a_group_of_less_than_a_row_in_a_period_has_one() -> None:
    made = turns(np.array([1.0, 1e-9, 1e-9]))
    assert made.units.tolist() == [PERIOD - 2, 1, 1]


@cache
def mixture(shares: tuple[float, ...], sizes: tuple[int, ...], seed: int = 7) -> Mixture:
    streams = [
        PackedSequences(text(size, 1000 * number), LENGTH, seed + number)
        for number, size in enumerate(sizes)
    ]
    return Mixture(streams, np.array(shares))


SHARES, SIZES = (0.6, 0.3, 0.1), (5, 2, 9)


def test_a_rows_sequence_is_that_of_counting_through_all_rows_before() -> None:
    mixed = mixture(SHARES, SIZES)
    rows = np.arange(3 * PERIOD)
    group, sequence = mixed.places(rows)
    counted: Counter[int] = Counter()
    expected = []
    for number in group.tolist():
        expected.append(counted[number])
        counted[number] += 1
    np.testing.assert_array_equal(sequence, expected)


@given(st.integers(0, 10**9), st.integers(1, 9))
def test_any_step_is_there_without_those_before(step: int, batch_size: int) -> None:
    used = mixture(SHARES, SIZES)
    fresh = copy(used)
    fresh.streams = [PackedSequences(s.tokens, LENGTH, s.seed) for s in used.streams]
    a, b = used.batch(step, batch_size), fresh.batch(step, batch_size)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


@given(st.integers(0, 500), st.integers(1, 4), st.integers(1, 4))
def test_the_stream_of_rows_does_not_depend_on_how_it_is_batched(
    start: int, a: int, b: int
) -> None:
    mixed = mixture(SHARES, SIZES)
    by_a, by_b = (
        np.concatenate([mixed.batch(step, size)["input_ids"] for step in steps])
        for size, steps in (
            (a, range(start * b, (start + 1) * b)),
            (b, range(start * a, (start + 1) * a)),
        )
    )
    np.testing.assert_array_equal(by_a, by_b)


def test_each_texts_sequences_come_once_in_each_epoch_of_its_own() -> None:
    mixed = mixture(SHARES, SIZES)
    starts = mixed.batch(0, 2000)["input_ids"][:, 0]
    for number, size in enumerate(SIZES):
        here = starts[starts // 1000 == number]
        epochs = len(here) // size
        assert epochs > 10
        for epoch in here[: epochs * size].reshape(epochs, size):
            np.testing.assert_array_equal(np.diff(np.sort(epoch)), LENGTH)
        assert len({tuple(epoch) for epoch in here[: epochs * size].reshape(epochs, size)}) > 1


def same(a: dict[str, npt.NDArray[Any]], b: dict[str, npt.NDArray[Any]]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_without_a_wish_to_mix_all_groups_are_one_text() -> None:
    groups = {SW: text(3, 0), EN: text(5, 5000)}
    joined = PackedSequences(np.concatenate([groups[SW], groups[EN]]), LENGTH, 3)
    for step in range(5):
        same(mix(groups, data_of(), LENGTH, 3).batch(step, 4), joined.batch(step, 4))


def test_a_temperature_lifts_small_languages_and_the_order_of_groups_changes_nothing() -> None:
    groups = {EN: text(900, 0), SW: text(9, 50_000)}
    mixed = mix(groups, data_of(2.0), LENGTH, 3)
    rows = mixed.batch(0, 1100)["input_ids"]
    small = np.sqrt(len(groups[SW]) / len(groups[EN]))
    expected = 1100 * small / (1 + small)
    assert (rows[:, 0] >= 50_000).sum() == pytest.approx(expected, abs=1)
    backwards = mix(dict(reversed(groups.items())), data_of(2.0), LENGTH, 3)
    same(mixed.batch(3, 50), backwards.batch(3, 50))


def test_a_weight_of_0_leaves_a_language_out() -> None:
    groups = {EN: text(9, 0), SW: text(9, 500), ZH: text(9, 900)}
    rows = mix(groups, data_of(weights=("en=3", "sw=0", "zh=1")), LENGTH, 3).batch(0, 40)
    found = Counter((rows["input_ids"][:, 0] // 450).tolist())
    assert found == {0: 30, 2: 10}


def test_texts_shorter_than_a_sequence_are_joined_to_others() -> None:
    groups = {
        EN: text(9, 0),
        SW: np.array([9000, 9001], np.uint32),
        ZH: np.array([9002], np.uint32),
    }
    mixed = mix(groups, data_of(5.0), LENGTH, 3)
    seen = {t for step in range(20) for t in mixed.batch(step, 9)["input_ids"].ravel().tolist()}
    assert {9000, 9001, 9002} <= seen
    with pytest.raises(DataError, match=r"only 3 tokens of training text"):
        mix({SW: groups[SW], ZH: groups[ZH]}, data_of(5.0), LENGTH, 3)


def test_document_ids_are_told_in_a_mixture_too() -> None:
    groups = {EN: text(9, 1), SW: text(9, 500)}
    batch = mix(groups, data_of(2.0), LENGTH, 3, separator=7).batch(0, 30)
    np.testing.assert_array_equal(batch["document_ids"], np.cumsum(batch["input_ids"] == 7, axis=1))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(0, 30), st.integers(0, 30))
def test_joined_tokens_are_as_one_array(sizes: list[int], start: int, stop: int) -> None:
    ends = np.cumsum(sizes)
    runs = [np.arange(e - n, e, dtype=np.uint16) for n, e in zip(sizes, ends, strict=True)]
    whole = np.arange(ends[-1], dtype=np.uint16)
    joined = JoinedTokens(runs)
    assert len(joined) == len(whole)
    np.testing.assert_array_equal(joined[start:stop], whole[start:stop])
    np.testing.assert_array_equal(
        JoinedTokens([joined, joined])[start:stop], np.concatenate([whole, whole])[start:stop]
    )


def test_known_mixtures_stay_as_they_are() -> None:
    # A run begun with one version of NumPy or llmos must go on with another.
    groups = {EN: text(20, 0), SW: text(5, 1000)}
    rows = mix(groups, data_of(2.0), LENGTH, 11).batch(3, 8)["input_ids"][:, 0]
    assert rows.tolist() == [1014, 25, 69, 1010, 29, 1000, 21, 72]
