"""Chinese: measure words, demonstratives, postpositions; spaces are taken out in the end."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmos.data.storyworld.grammar import Language, Word


def parse(entry: str) -> Word:
    """"一把 伞", "一座 海岛 上", "安静 的" or "表哥/表姐"."""
    found = re.fullmatch(r"(?:一(\S+) )?(\S+(?: 的)?)(?: ([里上]))?", entry)
    assert found
    measure, text, after = (group or "" for group in found.groups())
    forms = tuple(text.split("/"))
    return Word(forms[0], forms=forms, article=measure, after=after)


def plain(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)


def measured(start: str, words: Sequence[Word]) -> str:
    return f"{start}{words[-1].article} {plain(words)}"


CHINESE = Language(
    "zh",
    {
        "plain": plain,
        "一": lambda words: measured("一", words),
        "那": lambda words: measured("那", words),
        "一里": lambda words: f"{measured('一', words)} {words[-1].after}",
        "数": lambda words: f"{words[0].text} {words[1].article} {words[1].text}",
        "量": lambda words: f"一{words[0].article}",
    },
    parse,
    space="",
)
