"""Telephone numbers of all countries, as the library phonenumbers writes its example numbers."""

from __future__ import annotations

from typing import Any

import pytest

from llmos.data.steps.personal_data.find import find

phonenumbers: Any = pytest.importorskip("phonenumbers")
FORMAT = phonenumbers.PhoneNumberFormat
MEMBERS = ("DE", "FR", "ES", "IT", "GB", "US", "CN", "IN", "BR")


def examples(region: str) -> dict[str, Any]:
    kinds = phonenumbers.PhoneNumberType
    names = {"fixed": kinds.FIXED_LINE, "mobile": kinds.MOBILE}
    found = {n: phonenumbers.example_number_for_type(region, kind) for n, kind in names.items()}
    return {name: number for name, number in found.items() if number}


def written(number: Any, form: int) -> str:
    return str(phonenumbers.format_number(number, form))


def is_found(number: str) -> bool:
    text = f"at {number}."
    return [(one.kind, text[one.start : one.end]) for one in find(text)] == [("phone", number)]


def test_with_the_code_of_a_country_all_are_found() -> None:
    numbers = {
        (region, name): written(number, FORMAT.INTERNATIONAL)
        for region in sorted(phonenumbers.SUPPORTED_REGIONS)
        for name, number in examples(region).items()
    }
    assert len(numbers) > 450
    # Numbers of four digits: Niue, Tristan da Cunha, Tokelau
    assert {region for (region, _), n in numbers.items() if not is_found(n)} == {"NU", "TA", "TK"}


@pytest.mark.parametrize("region", MEMBERS)
def test_as_they_are_written_within_a_country(region: str) -> None:
    """In Spain landlines, in Italy and India some, are digits that could be anything."""
    numbers = [written(number, FORMAT.NATIONAL) for number in examples(region).values()]
    plain = {n for n in numbers if not is_found(n)}
    assert plain <= {"810 12 34 56", "612 34 56 78", "02 1234 5678", "081234 56789"}


@pytest.mark.parametrize("region", MEMBERS)
def test_named_all_are_found(region: str) -> None:
    for number in examples(region).values():
        number = written(number, FORMAT.NATIONAL)
        text = f"tel. {number}."
        assert [text[one.start : one.end] for one in find(text)] == [number]
