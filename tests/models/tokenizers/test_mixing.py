"""Weights of members in a joint tokenizer: exact, and those of mT5."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.models.disclosure import add_counts
from llmos.models.pieces import count_pieces
from llmos.models.tokenizers.mixing import mix_counts, multipliers, text_bytes

member_counts = st.dictionaries(st.text("ab中", min_size=1, max_size=3), st.integers(1, 10**6))


@given(st.lists(member_counts, min_size=1, max_size=4))
def test_at_temperature_1_counts_are_added_as_they_are(members: list[dict[str, int]]) -> None:
    assert mix_counts(members) == add_counts(members)


@given(st.lists(member_counts, min_size=2, max_size=4), st.floats(1, 100), st.randoms())
def test_the_order_of_members_and_pieces_does_not_matter(
    members: list[dict[str, int]], temperature: float, random: object
) -> None:
    turned = [dict(reversed(counts.items())) for counts in reversed(members)]
    assert list(mix_counts(members, temperature).items()) == list(
        mix_counts(turned, temperature).items()
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 2**50), min_size=1, max_size=5), st.integers(1, 100))
def test_multipliers_are_the_largest_whole_numbers_below_the_exact_ones(
    sizes: list[int], hundredths: int
) -> None:
    temperature = 100 / hundredths
    exponent = 1 - Fraction(hundredths, 100)
    largest = max(sizes)
    for size, factor in zip(sizes, multipliers(sizes, temperature), strict=True):
        # factor <= 2^16 (largest / size)^exponent < factor + 1, without a root
        bound = Fraction(largest, size) ** exponent.numerator
        bound *= 2 ** (16 * exponent.denominator)
        assert factor**exponent.denominator <= bound < (factor + 1) ** exponent.denominator


def test_shares_are_those_of_mt5() -> None:
    # Shares p^0.3 (arXiv 2010.11934): of 1:10:1000 text, not 1:10:1000 but 1:2:7.9.
    factors = multipliers([1000, 10_000, 1_000_000], 1 / 0.3)
    shares = [size * factor for size, factor in zip([1, 10, 1000], factors, strict=True)]
    assert [share / shares[0] for share in shares] == pytest.approx(
        [1, 10**0.3, 1000**0.3], rel=1e-4
    )


def test_the_largest_member_keeps_its_counts_and_an_empty_one_has_none() -> None:
    mixed = mix_counts([{"aaaa": 1000}, {"bb": 5}, {}], 2.0)
    # 4000 bytes to 10: the second counts sqrt(400) = 20 times.
    assert mixed == {"aaaa": 1000, "bb": 100}
    assert mix_counts([], 2.0) == {} == mix_counts([{}], 2.0)


def test_text_is_measured_once_where_characters_are_counted_twice() -> None:
    for text in ("One clause, and another 123.", "模型训练完成以后", "ข้อความที่พบ"):
        counts = count_pieces([text])
        assert math.isclose(text_bytes(counts), len(text.encode()), rel_tol=0.2)
    assert text_bytes(count_pieces(["模型训练完成以后"])) == 24
