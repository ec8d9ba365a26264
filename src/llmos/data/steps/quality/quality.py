"""The step that drops texts by the sets of rules which the recipe names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from llmos.data.documents import Document
from llmos.data.steps.quality.c4 import c4
from llmos.data.steps.quality.fineweb import fineweb
from llmos.data.steps.quality.gopher import MOST_WORDS, TOO_LONG, gopher
from llmos.data.steps.quality.page import Page
from llmos.data.steps.quality.repetition import repetition
from llmos.data.steps.quality.words import surely_more_words
from llmos.data.steps.step import Drop
from llmos.errors import UsageError
from llmos.recipe_preparation import QUALITY_RULES

RULES: dict[str, Callable[[Page, Counter[str]], Page | Drop]] = {
    "gopher": gopher,
    "gopher_repetition": repetition,
    "c4": c4,
    "fineweb": fineweb,
}
"""Each set of rules by its name. C4's rules take lines out before FineWeb's look at them (as in
arXiv 2406.17557, 3.5); Gopher's look at the text as it was. C4's and FineWeb's are asked first:
they take a third of the time, and what they drop need not be cut into words."""


@dataclass(frozen=True)
class Quality:
    """Drop texts that break a rule; take out the lines that C4's rules are against.

    The rules are for running text: records of several parts (pairs, questions, chats) pass as they
    are. `rules` are names of `RULES`; others raise `UsageError`.
    """

    rules: tuple[str, ...] = QUALITY_RULES

    def __post_init__(self) -> None:
        for name in self.rules:
            if name not in RULES:
                raise UsageError(f"{name!r} is no set of quality rules: take of {', '.join(RULES)}")

    def __call__(self, document: Document, counts: Counter[str]) -> Document | Drop:
        if document.fields or not self.rules:
            return document
        if not document.text.strip():
            return Drop("quality_empty")
        whole = Page(document.text, document.language)
        if surely_more_words(whole.text, 2 * MOST_WORDS) and "gopher" in self.rules:
            return Drop(TOO_LONG)  # not even cut: a file of one endless line is one text
        found: Counter[str] = Counter()
        cleaned = self._asked(("c4", "fineweb"), whole, found)
        if isinstance(cleaned, Drop):
            return cleaned
        verdict = self._asked(("gopher", "gopher_repetition"), whole, found)
        if isinstance(verdict, Drop):
            return verdict
        counts.update(found)  # what was done to a text that is dropped does not count
        return document if cleaned is whole else replace(document, text=cleaned.text)

    def _asked(self, names: Sequence[str], page: Page, counts: Counter[str]) -> Page | Drop:
        """The page after those of the rules that are wanted, or the first that it breaks."""
        for name in names:
            if name in self.rules:
                outcome = RULES[name](page, counts)
                if isinstance(outcome, Drop):
                    return outcome
                page = outcome
        return page
