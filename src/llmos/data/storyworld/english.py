"""English: a/an, plural, order of words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmos.data.storyworld.grammar import Language, Word


def parse(entry: str) -> Word:
    """"in a village", "some soup" or "egg"."""
    found = re.fullmatch(r"((?:in|on) )?((?:an?|some) )?(.+)", entry)
    assert found
    before, article, text = (group or "" for group in found.groups())
    return Word(text, before=before, article=article)


def plain(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)


def a(words: Sequence[Word]) -> str:
    text = plain(words)
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"


ENGLISH = Language(
    "en",
    {
        "plain": plain,
        "a": a,
        "the": lambda words: f"the {plain(words)}",
        "in": lambda words: words[-1].before + a(words),
        "some": lambda words: words[0].article + words[0].text,
        "count": lambda words: f"{plain(words)}s",
    },
    parse,
)
