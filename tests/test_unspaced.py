"""The scripts without blanks between words, against Unicode."""

from __future__ import annotations

import re
import sys
import unicodedata
from itertools import pairwise

from llmos.unspaced import BY_DICTIONARY, IDEOGRAPHIC, UNSPACED, character_class


def test_no_range_overlaps_another() -> None:
    ordered = sorted(UNSPACED)
    assert all(last < first for (_, last), (first, _) in pairwise(ordered))
    assert {*BY_DICTIONARY} | {*IDEOGRAPHIC} == {*UNSPACED}


def test_they_hold_no_digits_and_no_punctuation() -> None:
    inside = [chr(code) for first, last in UNSPACED for code in range(first, last + 1)]
    assert not {unicodedata.category(c) for c in inside} & {"Nd", "Po", "Ps", "Pe", "Zs"}


def test_the_class_is_the_letters_of_these_scripts() -> None:
    named = re.compile(r"(THAI|LAO|KHMER|MYANMAR|HIRAGANA|KATAKANA|BOPOMOFO|YI|CJK UNIFIED)\b")
    pattern = re.compile(character_class())
    for letter in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.category(letter) == "Lo" and named.match(unicodedata.name(letter, "")):
            assert pattern.match(letter), hex(ord(letter))
    assert not any(map(pattern.match, "aé가๑。"))
