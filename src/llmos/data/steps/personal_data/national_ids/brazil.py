"""Brazil: the registers of persons (CPF) and of companies (CNPJ) of the Receita Federal."""

from __future__ import annotations

import re

from llmos.data.steps.personal_data.checksums import weighted
from llmos.data.steps.personal_data.patterns import Bounds, Finder, Pattern, compact, form
from llmos.data.steps.personal_data.view import View

_CPF = (11, 10, 9, 8, 7, 6, 5, 4, 3, 2)
_CNPJ = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
_MOMENT = re.compile(
    r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])(?:[01]\d|2[0-3])[0-5]\d[0-5]\d"
)


def _checked(characters: str, weights: tuple[int, ...]) -> bool:
    """Two check digits: 11 less the remainder by 11 of the weighted sum, 0 for 10 or 11."""
    for length, used in ((len(weights) - 1, weights[1:]), (len(weights), weights)):
        remainder = weighted(characters[:length], used) % 11
        if characters[length] != str(11 - remainder if remainder > 1 else 0):
            return False
    return True


def is_cpf(digits: str) -> bool:
    """Eleven digits, two of them check digits (Instrução Normativa RFB 2172/2024)."""
    return len(set(digits)) > 1 and _checked(digits, _CPF)


def is_cnpj(characters: str) -> bool:
    """Fourteen, two of them check digits; letters since 2026 (Instrução Normativa 2229/2024)."""
    if len(set(characters)) == 1 or _MOMENT.fullmatch(characters):
        return False
    return _checked(characters, _CNPJ)


def _cnpj(view: View, match: re.Match[str]) -> Bounds | None:
    """From the slash on it is found, which is rarer than digits; ten characters are before it."""
    start, end = match.start() - 10, match.end()
    return (start, end) if is_cnpj(compact(view.plain[start:end])) else None


FINDERS: tuple[Finder, ...] = (
    *(form(shape, is_cpf) for shape in ("99999999999", "999.999.999-99", "999999999-99")),
    form("9" * 14, is_cnpj),
)
IN_TEXT: tuple[Finder, ...] = (
    # 12.ABC.345/01DE-35: too few digits in a row to be an excerpt
    Pattern(
        re.compile(
            r"/(?<=[9A]{2}\.[9A]{3}\.[9A]{3}/)(?<![9Aa][9A]{2}\.[9A]{3}\.[9A]{3}/)[9A]{4}-99(?![9Aa])"
        ),
        _cnpj,
        shaped=True,
    ),
)
