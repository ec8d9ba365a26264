"""France: the social security number, numéro d'inscription au répertoire (NIR, INSEE)."""

from __future__ import annotations

import re

from llmos.data.steps.personal_data.patterns import Finder, form

# Sex (1, 2; 3, 4, 7, 8 while being registered), year, month (20 and more: not known), département
# (2A and 2B: Corsica), commune, order (décret 82-103).
_STRUCTURE = re.compile(
    r"[1-478]\d\d(?:0[1-9]|1[0-2]|[2-35-9]\d|4[0-2])(?:0[1-9]|[1-9]\d|2[AB])\d{6}\d\d"
)


def is_nir(characters: str) -> bool:
    """Thirteen characters and the key, 97 less their remainder by 97; 2A counts 19 and 2B 18."""
    if not _STRUCTURE.fullmatch(characters):
        return False
    number = int(characters[:13].replace("2A", "19").replace("2B", "18"))
    return 97 - number % 97 == int(characters[13:])


FINDERS: tuple[Finder, ...] = tuple(
    form(shape, is_nir)
    for shape in (
        "999999999999999", "9999999999999 99", "9 99 99 99 999 999 99",
        "999999A99999999", "999999A999999 99", "9 99 99 9A 999 999 99",
    )
)  # fmt: skip
