"""Spain: the identity number of citizens (DNI) and of foreigners (NIE)."""

from __future__ import annotations

from llmos.data.steps.personal_data.patterns import Finder, form

_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
"""By the remainder of the number by 23 (Real Decreto 1553/2005; Ministerio del Interior)."""


def is_dni(characters: str) -> bool:
    """Eight digits and the letter of their remainder; 00000000T and its like are samples."""
    number = int(characters[:8])
    return number > 0 and _LETTERS[number % 23] == characters[8]


def is_nie(characters: str) -> bool:
    """X, Y or Z for 0, 1 or 2, seven digits, and the letter (Orden INT/2058/2008)."""
    if characters[0] not in "XYZ":
        return False
    return _LETTERS[int(str("XYZ".index(characters[0])) + characters[1:8]) % 23] == characters[8]


FINDERS: tuple[Finder, ...] = (
    *(form(shape, is_dni) for shape in ("99999999A", "99999999-A", "99.999.999-A", "99.999.999A")),
    *(form(shape, is_nie) for shape in ("A9999999A", "A-9999999-A", "A9999999-A")),
)
