"""The step that drops texts by the sets of rules which the recipe names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from llmos.data.documents import Document
from llmos.data.steps.quality.c4 import c4
from llmos.data.steps.quality.fineweb import fineweb
from llmos.data.steps.quality.gopher import gopher
from llmos.data.steps.quality.page import Page
from llmos.data.steps.quality.repetition import repetition
from llmos.data.steps.step import Drop
from llmos.errors import UsageError
from llmos.recipe_preparation import QUALITY_RULES

RULES: dict[str, Callable[[Page, Counter[str]], Page | Drop]] = {
    "gopher": gopher,
    "gopher_repetition": repetition,
    "c4": c4,
    "fineweb": fineweb,
}
"""Each set of rules by its name, in the order in which they are asked, however a recipe names them:
texts that are too long are told first, and C4's rules take lines out before FineWeb's look at them
(as in arXiv 2406.17557, 3.5)."""


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
        page = Page(document.text, document.language)
        found: Counter[str] = Counter()
        for name, rule in RULES.items():
            if name in self.rules:
                outcome = rule(page, found)
                if isinstance(outcome, Drop):
                    return outcome
                page = outcome
        counts.update(found)  # what was done to a text that is dropped does not count
        return document if page.text is document.text else replace(document, text=page.text)
