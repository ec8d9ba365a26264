from __future__ import annotations

from collections import Counter

import pytest

from llmos.data.steps.quality.fineweb import fineweb
from llmos.data.steps.quality.page import Page
from llmos.data.steps.step import Drop


def _reason(text: str, language: str = "en") -> str:
    outcome = fineweb(Page(text, language), Counter())
    return outcome.reason if isinstance(outcome, Drop) else ""


def _lines(number: int, words: int = 12, end: str = ".") -> list[str]:
    return [" ".join(f"word{line}x{word}" for word in range(words)) + end for line in range(number)]


SHORT = [f"{index:029d}." for index in range(100)]  # 30 characters


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (_lines(100), ""),
        ([*_lines(88, end=""), *_lines(100)[88:]], ""),
        ([*_lines(89, end=""), *_lines(100)[89:]], "fineweb_unended_lines"),
        (_lines(3, end='."'), "fineweb_unended_lines"),
        ([*SHORT[:67], *_lines(33, words=30)], ""),
        ([*SHORT[:68], *_lines(32, words=30)], "fineweb_short_lines"),
        ([*[line + "." for line in SHORT], *_lines(30, words=30)], ""),
        ([*_lines(100), _lines(1)[0]], ""),  # 1 of 101 lines
        ([*_lines(98), *_lines(2)], "fineweb_repeated_lines"),
        ([*_lines(10), "", "", *_lines(20)[10:]], ""),  # blank lines are none
        ([f"{'a' * 20 + str(n)} c {'b' * 20}." for n in range(40)], ""),  # 4 words a line
        ([f"{'a' * 20 + str(n)} {'b' * 20}." for n in range(40)], "fineweb_list"),  # 39 / (40 * 3)
        ([f"{'a' * 40 + str(n)}." for n in range(40)], "fineweb_list"),  # 2 words a line
    ],
)
def test_each_rule(lines: list[str], reason: str) -> None:
    assert _reason("\n".join(lines)) == reason


def test_line_ends_of_other_languages() -> None:
    quoted = "\n".join(_lines(3, end="!«"))
    assert _reason(quoted, "en") == "fineweb_unended_lines"
    assert _reason(quoted, "de") == ""
    for mark in "。？।॥؟۔։።។။…"[:-1]:
        assert _reason("\n".join(_lines(3, end=mark)), "en") == ""
    thai = "\n".join(f"{'กขคงจฉชซญดตถทธนบปผฝพฟภมยรลวสห'} {'มยรลวสห' * n}" for n in range(1, 9))
    assert _reason(thai, "th") == ""


def test_wide_letters_make_short_lines_long() -> None:
    digits = "零一二三四五六七八九"
    numbers = ["".join(digits[int(d)] for d in f"{n:02d}") for n in range(50)]
    assert _reason("\n".join(number * 8 + "。" for number in numbers), "zh") == ""  # 17 letters
    assert (
        _reason("\n".join(number * 7 + "。" for number in numbers), "zh") == "fineweb_short_lines"
    )


@pytest.mark.parametrize("language", ["zh", "ja", "th", "hi", "ar", "ko", "de", "en"])
def test_prose_is_kept_in_any_script(language: str, prose: dict[str, str]) -> None:
    assert _reason(prose[language], language) == ""
