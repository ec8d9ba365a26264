"""French: articles, elision, contraction, possessive, plural."""

from __future__ import annotations

from collections.abc import Sequence

from llmos.data.storyworld.grammar import Language, Word
from llmos.data.storyworld.romance import by_gender, parse, plain, vowel


def un(words: Sequence[Word]) -> str:
    return by_gender(words, "un", "une")


def le(words: Sequence[Word]) -> str:
    return f"l'{plain(words)}" if vowel(plain(words)) else by_gender(words, "le", "la")


def d(text: str) -> str:
    return f"d'{text}" if vowel(text) else f"de {text}"


FRENCH = Language(
    "fr",
    {
        "plain": plain,
        "un": un,
        "le": le,
        "de": lambda words: f"de {le(words)}".replace("de le ", "du "),
        "son": lambda words: by_gender(words, "son", "son" if vowel(plain(words)) else "sa"),
        "d": lambda words: d(plain(words)),
        "dun": lambda words: d(un(words)),
        "dans": lambda words: words[-1].before + un(words),
        "some": lambda words: words[0].article + words[0].text,
        "n": lambda words: f"{words[0].text} {words[1].text}s",
    },
    parse,
)
