"""India: Aadhaar (UIDAI) and the permanent account number of the tax office (PAN)."""

from __future__ import annotations

import re

from llmos.data.steps.personal_data.checksums import verhoeff
from llmos.data.steps.personal_data.patterns import Finder, form

_WORDS = re.compile(r"(?:aadhaar|aadhar|uidai|\buid\b|आधार|ஆதார்|ఆధార్|আধার)[^\n]*$")
# Income Tax Department, "Permanent Account Number": the fourth letter tells who holds it. How its
# last letter is reckoned is not published.
_PAN = re.compile(r"[A-Z]{3}[ABCFGHJKLPT][A-Z](?!0000)\d{4}[A-Z]")


def is_aadhaar(digits: str) -> bool:
    """Twelve digits, the first not 0 or 1, the last by Verhoeff (UIDAI); and not three years."""
    years = all(digits[at : at + 2] in ("19", "20") for at in (0, 4, 8))
    return digits[0] not in "01" and not years and verhoeff(digits)


def is_pan(characters: str) -> bool:
    """Ten characters of the published form."""
    return _PAN.fullmatch(characters) is not None


FINDERS: tuple[Finder, ...] = (
    *(form(shape, is_aadhaar) for shape in ("9999 9999 9999", "9999-9999-9999")),
    form("999999999999", is_aadhaar, _WORDS),
)
IN_TEXT: tuple[Finder, ...] = (form("AAAAA9999A", is_pan),)
