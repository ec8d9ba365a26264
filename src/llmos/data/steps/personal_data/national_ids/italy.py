"""Italy: the tax code of persons, codice fiscale."""

from __future__ import annotations

import re

from llmos.data.steps.personal_data.patterns import Bounds, Finder, Pattern
from llmos.data.steps.personal_data.view import View

# Decreto ministeriale 23 dicembre 1976: three letters each of surname and name, year, month, day
# and sex, place, check letter. Where two persons would have the same code, digits become letters
# from the right: L for 0, M for 1 ... (omocodia).
_DIGIT = "[0-9LMNPQRSTUV]"
_FORM = re.compile(
    rf"[A-Z]{{6}}{_DIGIT}{{2}}[ABCDEHLMPRST]{_DIGIT}{{2}}[A-Z]{_DIGIT}{{3}}[A-Z]", re.I
)
_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21] * 2
        + [2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23],
        strict=True,
    )
)
"""What a character counts at the first, third ... place; at the others it counts its rank."""


def is_tax_code(characters: str) -> bool:
    """Sixteen characters; the last is the remainder by 26 of what the others count."""
    if not _FORM.fullmatch(characters):
        return False
    characters = characters.upper()
    odd = sum(_ODD[c] for c in characters[:15:2])
    even = sum(int(c) if c.isdigit() else ord(c) - 65 for c in characters[1:15:2])
    return chr(65 + (odd + even) % 26) == characters[15]


def _tax_code(view: View, match: re.Match[str]) -> Bounds | None:
    start, end = match.span()
    return match.span() if is_tax_code(view.plain[start:end]) else None


# In capitals throughout or in small letters throughout.
FINDERS: tuple[Finder, ...] = tuple(
    Pattern(
        re.compile(rf"{c * 6}(?<![9Aa]{c * 6})[9{c}]{{9}}{c}(?![9Aa])"),
        _tax_code,
        shapes=(c * 6,),
        shaped=True,
    )
    for c in "Aa"
)
