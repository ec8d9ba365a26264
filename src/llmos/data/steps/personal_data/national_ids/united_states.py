"""United States: the social security number, and the taxpayer number that the others get."""

from __future__ import annotations

import re

from llmos.data.steps.personal_data.patterns import Finder, form

# 20 CFR 422.103 and SSA, "Social Security Number Randomization" (2011): these are never given out.
_SSN = re.compile(r"(?!000|666|9)\d{3}(?!00)\d\d(?!0000)\d{4}")
# IRS, Internal Revenue Manual 3.21.263: the fourth and fifth digits of an ITIN.
_ITIN = re.compile(r"9\d\d(?:5\d|6[0-5]|7\d|8[0-8]|9[0-24-9])\d{4}")
_WORDS = re.compile(r"(?:\bssn\b|\bitin\b|social[ -]security|taxpayer)[^\n\d]*$")


def is_ssn(digits: str) -> bool:
    """A number that can have been given out; there is no check digit."""
    return _SSN.fullmatch(digits) is not None


def is_itin(digits: str) -> bool:
    """A number of the range given out; there is no check digit."""
    return _ITIN.fullmatch(digits) is not None


def _either(digits: str) -> bool:
    return is_ssn(digits) or is_itin(digits)


FINDERS: tuple[Finder, ...] = (
    form("999-99-9999", _either),
    *(form(shape, _either, _WORDS) for shape in ("999 99 9999", "999999999")),
)
