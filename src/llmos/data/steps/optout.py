"""Drop documents from pages that do not want to be trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from llmos.data.documents import Document
from llmos.data.optouts.lists import load
from llmos.data.steps.step import Drop


class OptOut:
    """Drops "opted_out"; `paths` are lists as `llmos.data.optouts.lists` reads them.

    A document is told by its `url`; counts those that have none ("optout_without_url"). Raises
    `DataError` for a list that is not in order.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = tuple(paths)
        self._lists = load(self.paths)

    def __reduce__(self) -> tuple[type[OptOut], tuple[tuple[str, ...]]]:
        # The lists may be long: every process reads them itself.
        return OptOut, (self.paths,)

    def __call__(self, document: Document, counts: Counter[str]) -> Document | Drop:
        """The document, or that its page opted out."""
        if not document.url:
            counts["optout_without_url"] += 1
            return document
        return Drop("opted_out") if self._lists.which(document.url) else document
