"""What is counted in a text: words, or characters in scripts without spaces."""

from __future__ import annotations

import re
import unicodedata

# Thai and Lao, Myanmar, Khmer, Han with its radicals and marks, Kana, Bopomofo.
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u302d\u3031-\u312f"
    "\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003fffd])"
)
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
