"""What is known of a recipe's key: its meaning, unit and range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SLUG = r"[a-z0-9][a-z0-9_-]{0,39}"
SLUG_WORDS = "1 to 40 of a-z, 0-9, _ and -, starting with a letter or digit"


@dataclass(frozen=True)
class About:
    """What is known of one key beyond its type and default.

    `minimum` and `maximum` belong to the range, `above` and `below` do not. For text, `pattern`
    is a regular expression for the whole value and `pattern_words` says it in words; for lists,
    all of these hold for each item, and `items` are the fewest and most items.
    `later` marks a key that came after recipes had been agreed on: while it has its default it is
    left out of what is hashed, so that those recipes keep their sha256.
    """

    doc: str
    unit: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    pattern: str | None = None
    pattern_words: str = ""
    items: tuple[int, int] = (0, 1000)
    later: bool = False


def about(doc: str, **known: Any) -> Mapping[str, About]:
    """The `metadata` of one field; the arguments are those of `About`."""
    return {"about": About(doc, **known)}
