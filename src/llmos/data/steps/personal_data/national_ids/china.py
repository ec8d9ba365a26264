"""China: the number of the resident identity card (GB 11643-1999)."""

from __future__ import annotations

import re
from datetime import date

from llmos.data.steps.personal_data.checksums import mod_11_2
from llmos.data.steps.personal_data.patterns import Finder, form

# GB/T 2260, provinces; 81 to 83: residents from Hong Kong, Macao and Taiwan; 9: foreigners.
_REGION = re.compile(r"1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]|9[1-9]")


def is_resident_number(characters: str) -> bool:
    """Region, day of birth, order, and a check character by ISO/IEC 7064 MOD 11-2."""
    if not _REGION.match(characters) or characters[17] not in "0123456789Xx":
        return False
    year, month, day = (int(characters[a:b]) for a, b in ((6, 10), (10, 12), (12, 14)))
    try:
        date(year, month, day)
    except ValueError:
        return False
    return 1850 <= year < 2100 and mod_11_2(characters)


FINDERS: tuple[Finder, ...] = tuple(
    form(shape, is_resident_number) for shape in ("9" * 18, "9" * 17 + "A", "9" * 17 + "a")
)
