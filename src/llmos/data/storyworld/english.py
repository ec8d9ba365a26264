"""English: a/an, plural."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmos.data.storyworld.grammar import Language, Word, plain


def parse(entry: str) -> Word:
    """Reads "in a village", "some soup" or "village"."""
    found = re.fullmatch(r"((?:in|on) )?((?:an?|some) )?(.+)", entry)
    before, article, text = (found[i] or "" for i in (1, 2, 3)) if found else ("", "", entry)
    return Word(text, before=before, article=article)


def a(words: Sequence[Word]) -> str:
    return f"{'an' if words[0].text[0] in 'aeiou' else 'a'} {plain(words)}"


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
