"""Germany: the tax number of persons, Steuer-Identifikationsnummer (§ 139b AO)."""

from __future__ import annotations

from collections import Counter

from llmos.data.steps.personal_data.checksums import mod_11_10
from llmos.data.steps.personal_data.patterns import Finder, form


def is_tax_number(digits: str) -> bool:
    """Eleven digits: ISO/IEC 7064 MOD 11,10, and what digits repeat (BZSt, since 2016).

    Of the first ten digits one stands there twice, or three times but never in a row; the others
    at most once. The first is not 0.
    """
    first = digits[:10]
    repeats = sorted(Counter(first).values(), reverse=True)
    thrice = repeats[0] == 3 and repeats[1] == 1 and not any(d * 3 in first for d in first)
    return (
        digits[0] != "0" and (thrice or (repeats[0] == 2 and repeats[1] == 1)) and mod_11_10(digits)
    )


FINDERS: tuple[Finder, ...] = tuple(
    form(shape, is_tax_number) for shape in ("99999999999", "99 999 999 999")
)
