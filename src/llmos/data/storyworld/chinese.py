"""Chinese: measure words, demonstratives, postpositions. Spaces part words until they are spelt."""

from __future__ import annotations

import re

from llmos.data.storyworld.grammar import Language, Word, plain


def parse(entry: str) -> Word:
    """Reads "一把 伞", "一座 海岛 上", "安静 的" or "表哥/表姐"."""
    found = re.fullmatch(r"(?:一(\S+) )?(\S+(?: 的)?)(?: ([里上]))?", entry)
    measure, text, after = (found[i] or "" for i in (1, 2, 3)) if found else ("", entry, "")
    forms = tuple(text.split("/"))
    return Word(forms[0], forms=forms, article=measure, after=after)


CHINESE = Language(
    "zh",
    {
        "plain": plain,
        "一": lambda words: f"一{words[-1].article} {plain(words)}",
        "那": lambda words: f"那{words[-1].article} {plain(words)}",
        "一里": lambda words: f"一{words[-1].article} {plain(words)} {words[-1].after}",
        "数": lambda words: f"{words[0].text} {words[1].article} {words[1].text}",
        "量": lambda words: f"一{words[0].article}",
    },
    parse,
    space="",
)
