from __future__ import annotations

import re
from collections import Counter

import pytest

from llmos.data.steps.quality.gopher import gopher
from llmos.data.steps.quality.page import Page
from llmos.data.steps.quality.stop_words import has_stop_words
from llmos.data.steps.step import Drop


def _reason(text: str, language: str = "en") -> str:
    outcome = gopher(Page(text, language), Counter())
    return outcome.reason if isinstance(outcome, Drop) else ""


SENTENCE = "The river runs to the sea and people have lived with it for ages"  # 14 words
LINES = [f"{SENTENCE} number{'abcdefgh'[i]}" for i in range(8)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\n".join(LINES), ""),
        (" ".join(["the sea and"] * 16 + ["and"]), "gopher_too_short"),  # 49 words
        (" ".join(["the sea and"] * 16 + ["and", "river"]), ""),  # 50
        (" ".join(["the sea and"] * 33333 + ["river"]), ""),  # 100,000
        (" ".join(["the sea and"] * 33333 + ["river", "is"]), "gopher_too_long"),
        (" ".join(["the of"] * 20 + ["be"] * 30), "gopher_short_words"),
        (" ".join(["the of"] * 2 + ["internationally"] * 50), "gopher_long_words"),
        (" ".join([*LINES[:5], "# " * 9]), "gopher_hash_signs"),  # 9 of 84
        (" ".join([*LINES[:5], "# " * 8]), ""),  # 8 of 83
        (" ".join([*LINES[:5], "so... " * 12, "on"]), "gopher_ellipses"),
        ("\n".join(f"• {line}" for line in LINES), "gopher_bullet_lines"),
        ("\n".join(f"  - {line}" for line in LINES), "gopher_bullet_lines"),
        ("\n".join([LINES[0], *(f"- {line}" for line in LINES[1:])]), ""),  # 7 of 8
        ("\n".join(f"{line}... " for line in LINES), "gopher_ellipsis_lines"),
        ("\n".join([*LINES[2:], *(f"{line}…" for line in LINES[:2])]), ""),  # 2 of 8
        (" ".join([*LINES[:4], "137 " * 16]), "gopher_few_alphabetic_words"),  # 60 of 76
        (" ".join([*LINES[:4], "137 " * 15]), ""),  # 60 of 75
        (" ".join([*LINES[:4], ", " * 16]), "gopher_few_alphabetic_words"),
        (" ".join(["rivers", "running", "the"] * 20), "gopher_few_stop_words"),
        (" ".join(["rivers", "of", "the"] * 20), ""),
    ],
)
def test_each_rule_in_english(text: str, reason: str) -> None:
    assert _reason(text) == reason


def test_a_text_too_long_by_far_is_told_by_its_beginning() -> None:
    assert _reason("the sea and " * 200_000) == "gopher_too_long"
    assert _reason("我们" * 500_000, "zh") == "gopher_too_long"


def test_other_languages_have_other_bounds() -> None:
    marks = " ".join([*LINES[:4], ", " * 30])
    assert _reason(marks, "en") == "gopher_few_alphabetic_words"
    assert _reason(marks, "xx") == ""  # the share is of the words without the marks
    assert _reason(" ".join([*LINES[:4], "137 " * 16]), "xx") == "gopher_few_alphabetic_words"
    long = " ".join(["the of"] * 2 + ["internationally"] * 50)
    assert _reason(long, "kl") == ""
    assert _reason(" ".join(["internationalization"] * 50), "kl") == "gopher_long_words"


@pytest.mark.parametrize("language", ["zh", "ja", "th", "hi", "ar", "ko", "de", "en"])
def test_prose_is_kept_and_its_first_words_are_too_short(
    language: str, prose: dict[str, str]
) -> None:
    text = prose[language]
    assert _reason(text, language) == ""
    assert _reason(text[: len(text) // 6], language) == "gopher_too_short"


@pytest.mark.parametrize(("language", "bullet"), [("zh", "・"), ("ja", "●"), ("ar", "•")])
def test_bullets_and_ellipses_in_other_scripts(
    language: str, bullet: str, prose: dict[str, str]
) -> None:
    sentences = re.split(r"(?<=[。.؟])\s*", prose[language].replace("\n", " "))
    listed = "\n".join(f"{bullet} {sentence}" for sentence in sentences if sentence)
    assert _reason(listed, language) == "gopher_bullet_lines"
    trailing = "\n".join(f"{sentence[:-1]}……" for sentence in sentences if sentence)
    assert _reason(trailing, language) == "gopher_ellipsis_lines"


def test_stop_words_of_a_language() -> None:
    assert has_stop_words("of the", "en", 2)
    assert has_stop_words("(the) river-of-stones", "en-GB", 2)
    assert not has_stop_words("the the theory often", "en", 2)
    assert not has_stop_words("Der Hund und", "en", 2)
    assert has_stop_words("der Hund und", "de", 2)
    assert has_stop_words("他是我的朋友", "zh-TW", 2)
    assert not has_stop_words("你好", "zh", 2)
    assert has_stop_words("فِي البيت مِنْ حجر", "ar", 2)  # with vowel signs
    assert has_stop_words("anything", "tlh", 2)  # no list
    assert has_stop_words("anything", "", 2)
