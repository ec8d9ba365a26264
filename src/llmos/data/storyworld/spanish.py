"""Spanish: articles, contraction, plural."""

from __future__ import annotations

from collections.abc import Sequence

from llmos.data.storyworld.grammar import Language, Word
from llmos.data.storyworld.romance import by_gender, parse, plain


def some(words: Sequence[Word]) -> str:
    """No article before what is not counted: "un pastel", but "sopa"."""
    return by_gender(words, "un", "una") if words[0].article.startswith("un") else words[0].text


def several(words: Sequence[Word]) -> str:
    plural = "s" if words[1].text[-1] in "aeiou" else "es"
    return f"{words[0].text} {words[1].text}{plural}"


SPANISH = Language(
    "es",
    {
        "plain": plain,
        "un": lambda words: by_gender(words, "un", "una"),
        "el": lambda words: by_gender(words, "el", "la"),
        "del": lambda words: by_gender(words, "del", "de la"),
        "al": lambda words: by_gender(words, "al", "a la"),
        "n": several,
        "some": some,
    },
    parse,
)
