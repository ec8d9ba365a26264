"""United Kingdom: the national insurance number, and the number of the National Health Service."""

from __future__ import annotations

import re

from llmos.data.steps.personal_data.checksums import weighted
from llmos.data.steps.personal_data.patterns import Finder, form

# HMRC, National Insurance Manual, NIM39110. It has no check digit.
_NINO = re.compile(r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{6}[A-D]")
_NHS_WORDS = re.compile(r"\bnhs\b[^\n]*$")


def is_nino(characters: str) -> bool:
    """Two letters that are given out, six digits, A to D."""
    return _NINO.fullmatch(characters) is not None


def is_nhs_number(digits: str) -> bool:
    """Ten digits, the last modulo 11 (NHS Data Dictionary, NHS NUMBER)."""
    return weighted(digits, (10, 9, 8, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0 and len(set(digits)) > 1


FINDERS: tuple[Finder, ...] = tuple(
    form(shape, is_nhs_number, _NHS_WORDS)
    for shape in ("999 999 9999", "999-999-9999", "9999999999")
)
IN_TEXT: tuple[Finder, ...] = tuple(
    form(shape, is_nino) for shape in ("AA999999A", "AA 99 99 99 A", "AA 999999 A")
)
