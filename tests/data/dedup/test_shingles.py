"""Shingles: against splitting and joining words one by one."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.data.dedup.shingles import IDEOGRAPHS, LETTERS, WORDS, shingles

# Letters with and without case and accents, digits, Chinese, Thai with its marks, and separators.
characters = st.sampled_from("abAé\u0301ß07٣中文が\u0e01\u0e32\u0e34 \n.,-\u200d\x00🌱")
texts = st.text(characters, max_size=60)


def plain_shingles(text: str) -> list[tuple[str, ...]]:
    """The definition, a word at a time; its splitting knows only the scripts above."""
    text = unicodedata.normalize("NFKD", text).casefold()
    text = "".join(c for c in text if unicodedata.category(c) not in ("Mn", "Cf"))
    text = re.sub(r"\d", lambda digit: str(unicodedata.decimal(digit[0])), text)
    words = re.findall(r"[一-鿿\u3041-\u30ff\u0e01-\u0e4e]|[a-z0-9]+", text)
    found = []
    for place, word in enumerate(words):
        wide = IDEOGRAPHS if word > "\u3000" else LETTERS if word >= "\u0e00" else WORDS
        if place + wide <= len(words):
            found.append(tuple(words[place : place + wide]))
    return found


@given(st.lists(texts, max_size=6))
def test_shingles_are_those_of_the_definition(texts: list[str]) -> None:
    texts = [text.replace("ß", "ss") for text in texts]  # a letter stays one letter here
    hashes, counts = shingles(texts)
    expected = [plain_shingles(text) for text in texts]
    assert counts.tolist() == [len(found) for found in expected]
    flat = [shingle for found in expected for shingle in found]
    assert len(hashes) == len(flat)
    names: dict[int, tuple[str, ...]] = {}
    for value, shingle in zip(hashes.tolist(), flat, strict=True):
        assert names.setdefault(value, shingle) == shingle  # equal hashes, equal words
    assert len(names) == len(set(flat))  # and the other way


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The quick, brown FOX jumped!", "the quick brown fox jumped"),
        ("un été à la mère", "UN ÉTÉ À LA MERE"),
        ("été sur la mer bleue", "e\u0301te\u0301 sur la mer bleue"),
        ("ΣΟΦΌΣ σοφός ένα δύο τρία", "σοφοσ σοφοσ ενα δυο τρια"),
        ("كِتَابٌ one two three four", "كتاب one two three four"),
        ("ＡＢＣ １２３ a b c", "abc 123 a b c"),
        ("١٢٣ b c d e", "123 b c d e"),
        ("سo\u200cft a b c d", "سoft a b c d"),
        ("我们把论文翻译成中文。", "我们，把论文 翻译成中文"),
    ],
    ids=["case and signs", "accents", "NFD", "sigma", "harakat", "full width", "digits", "joiner",
         "Chinese signs"],
)  # fmt: skip
def test_what_does_not_count(one: str, other: str) -> None:
    hashes, counts = shingles([one, other])
    assert counts[0] == counts[1] > 0
    assert np.array_equal(hashes[: counts[0]], hashes[counts[0] :])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("the price is now 12", "the price is now 13"),
        ("कि की कु a b", "के को कौ a b"),
        ("이 글은 아주 잘 썼다", "이 글은 아주 잘 섰다"),
    ],
    ids=["numbers", "Hindi vowels that take space", "Korean"],
)
def test_what_counts(one: str, other: str) -> None:
    hashes, counts = shingles([one, other])
    assert counts[0] == counts[1] > 0
    assert not np.array_equal(hashes[: counts[0]], hashes[counts[0] :])


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("word", 0),
        ("a b c d", 0),
        ("a b c d e", 1),
        ("a b c d e f", 2),
        ("?! -- ...", 0),
        ("翻译论文摘要的", 0),
        ("翻译论文摘要的一", 1),
        ("ກຂຄງຈຊຍດຕຖທນບປ", 1),
        ("\ud800 a b c d e", 1),
    ],
)
def test_how_many_shingles(text: str, count: int) -> None:
    assert shingles([text])[1].tolist() == [count]


def test_no_shingle_crosses_from_one_text_to_the_next() -> None:
    hashes, counts = shingles(["a b c", "d e f", "", "g h i j k"])
    assert counts.tolist() == [0, 0, 0, 1]
    assert np.array_equal(hashes, shingles(["g h i j k"])[0])


GOLDEN = [2821982140, 3325205266]


def test_hashes_stay_the_same_from_version_to_version() -> None:
    """Fingerprints of one preparation may be made by two installations."""
    assert shingles(["one two three four five six"])[0].tolist() == GOLDEN
