"""What a step of the preparation is: a document goes in; it, another, or a reason comes out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from llmos.data.documents import Document


@dataclass(frozen=True)
class Drop:
    """A document is not taken. `reason` is a slug such as "gopher_too_short", never its text."""

    reason: str


class Step(Protocol):
    """Called with one document after another, in any order and in any process.

    What comes out depends on the document and the step's settings alone. `counts` is for what the
    card tells besides drops, such as how many e-mail addresses were masked; its keys are slugs.
    """

    def __call__(self, document: Document, counts: Counter[str]) -> Document | Drop: ...
