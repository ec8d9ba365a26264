"""A text on its way through the rules, with what several of them need worked out once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

from llmos.data.steps.quality.words import Words, word_table


def base_language(code: str) -> str:
    """The language of a code such as pt-BR or zh_TW."""
    return re.split("[-_]", code)[0].lower()


class Page:
    """A text and the code of its language ("" where it is not known)."""

    def __init__(self, text: str, language: str = "") -> None:
        self.text = text
        self.language = language

    @property
    def is_english(self) -> bool:
        """Whether the thresholds hold to the letter: all papers took them from English text."""
        return base_language(self.language) == "en"

    @cached_property
    def words(self) -> Words:
        """Its words and their counts."""
        return word_table().words(self.text)


def repeated(parts: Sequence[str]) -> tuple[int, int]:
    """How many of the parts stood there before, and how many characters they have."""
    different = set(parts)
    return len(parts) - len(different), sum(map(len, parts)) - sum(map(len, different))
