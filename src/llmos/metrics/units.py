"""What is counted in a text: words, or characters in scripts without spaces."""

from __future__ import annotations

import re
import unicodedata

from llmos.unspaced import character_class

_UNSPACED = re.compile(f"({character_class()})")
_JOINERS = "\u200c\u200d"  # inside words of Persian and of Indic languages


def space_out(text: str) -> str:
    """The text with blanks around each character of a script without spaces."""
    return _UNSPACED.sub(r" \1 ", text)


def words(text: str) -> list[str]:
    """The units of a text in lower case, without punctuation: `["great", "wall", "长", "城"]`.

    A unit is a run of letters, their marks and digits, or one character of a script without spaces.
    """
    kept = (
        c if c in _JOINERS or unicodedata.category(c)[0] in "LMN" else " " for c in text.lower()
    )
    return space_out("".join(kept)).split()
