"""Check digits: a number with the right one is taken, with any other digit changed it is not."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmos.data.steps.personal_data import banking, checksums
from llmos.data.steps.personal_data.national_ids import (
    brazil,
    china,
    france,
    germany,
    india,
    italy,
    spain,
    united_kingdom,
    united_states,
)

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = "0123456789"


def digits(number: int) -> st.SearchStrategy[str]:
    return st.text(DIGITS, min_size=number, max_size=number)


def joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


def one_of(*choices: str) -> st.SearchStrategy[str]:
    return st.sampled_from(choices)


def two_digits(first: int, last: int) -> st.SearchStrategy[str]:
    return st.integers(first, last).map("{:02}".format)


TWO = [f"{n:02}" for n in range(100)]
BIRTHDAY = joined(st.integers(1985, 2020).map(str), two_digits(1, 12), two_digits(1, 28))
NUMBERS: dict[str, tuple[Callable[[str], bool], str, st.SearchStrategy[str], list[str]]] = {
    "luhn": (checksums.luhn, "stdnum.luhn", digits(15), list(DIGITS)),
    "verhoeff": (checksums.verhoeff, "stdnum.verhoeff", digits(11), list(DIGITS)),
    "mod 11,10": (checksums.mod_11_10, "stdnum.iso7064.mod_11_10", digits(10), list(DIGITS)),
    "mod 11-2": (checksums.mod_11_2, "stdnum.iso7064.mod_11_2", digits(17), [*DIGITS, "X"]),
    "Aadhaar": (
        india.is_aadhaar,
        "stdnum.in_.aadhaar",
        joined(st.sampled_from("3456789"), digits(10)),
        list(DIGITS),
    ),
    "NIR": (
        france.is_nir,
        "stdnum.fr.nir",
        joined(one_of("1", "2"), digits(2), two_digits(1, 12), two_digits(1, 95), digits(6)),
        TWO,
    ),
    "DNI": (spain.is_dni, "stdnum.es.dni", digits(8), list(LETTERS)),
    "NIE": (spain.is_nie, "stdnum.es.nie", joined(one_of("X", "Y", "Z"), digits(7)), list(LETTERS)),
    "codice fiscale": (
        italy.is_tax_code,
        "stdnum.it.codicefiscale",
        joined(
            st.text("BCDFGLMNPRSTVZ", min_size=6, max_size=6),
            digits(2),
            st.sampled_from("ABCDEHLMPRST"),
            two_digits(1, 28),
            st.sampled_from(LETTERS),
            digits(3),
        ),
        list(LETTERS),
    ),
    "NHS": (united_kingdom.is_nhs_number, "stdnum.gb.nhs", digits(9), list(DIGITS)),
    "resident": (
        china.is_resident_number,
        "stdnum.cn.ric",
        joined(one_of("110105", "310104"), BIRTHDAY, digits(3)),
        [*DIGITS, "X"],
    ),
    "CPF": (brazil.is_cpf, "stdnum.br.cpf", digits(9), TWO),
    "CNPJ": (brazil.is_cnpj, "stdnum.br.cnpj", digits(12), TWO),
    "IBAN": (
        banking.is_iban,
        "stdnum.iban",
        joined(one_of("GB"), st.just("??"), one_of("WEST", "NWBK"), digits(14)),
        TWO,
    ),
}
# The rest of the codes find each changed digit; these two do not quite, by their rule for 10.
SURE = sorted(NUMBERS.keys() - {"CPF", "CNPJ"})


def with_check(body: str, check: str) -> str:
    return body.replace("??", check) if "??" in body else body + check


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_the_check_digits_are_those_of_stdnum(name: str) -> None:
    ours, module, bodies, checks = NUMBERS[name]
    pytest.importorskip("stdnum")
    theirs: Any = importlib.import_module(module)

    @settings(max_examples=30, deadline=None)
    @given(bodies, st.sampled_from(checks))
    def same(body: str, check: str) -> None:
        assume(len(set(body)) > 2)
        for tried in {check, *(c for c in checks if ours(with_check(body, c)))}:
            number = with_check(body, tried)
            assert ours(number) == theirs.is_valid(number), number

    same()


@pytest.mark.parametrize("name", SURE)
def test_one_changed_digit_is_refused(name: str) -> None:
    ours, _, bodies, checks = NUMBERS[name]

    @settings(max_examples=30, deadline=None)
    @given(bodies, st.data())
    def refused(body: str, data: st.DataObject) -> None:
        valid = [n for n in (with_check(body, c) for c in checks) if ours(n)]
        assume(valid)
        number = data.draw(st.sampled_from(valid))
        place = data.draw(st.sampled_from([i for i, c in enumerate(number) if c.isdigit()]))
        other = data.draw(st.sampled_from(sorted(set(DIGITS) - {number[place]})))
        assert not ours(number[:place] + other + number[place + 1 :])

    refused()


@given(st.permutations(DIGITS), st.integers(0, 9), st.integers(0, 9), st.sampled_from(DIGITS))
def test_german_tax_numbers_are_those_of_stdnum(
    order: list[str], dropped: int, repeated: int, check: str
) -> None:
    stdnum = pytest.importorskip("stdnum.de.idnr")
    order[dropped] = order[repeated]  # one digit twice, one missing
    number = "".join(order) + check
    assert germany.is_tax_number(number) == stdnum.is_valid(number)


@given(st.text("123", min_size=11, max_size=11) | digits(11))
def test_german_tax_numbers_of_other_forms_are_those_of_stdnum(number: str) -> None:
    stdnum = pytest.importorskip("stdnum.de.idnr")
    in_a_row = any(digit * 3 in number[:10] for digit in DIGITS)  # stdnum lets these pass
    assert germany.is_tax_number(number) == (stdnum.is_valid(number) and not in_a_row)


def test_german_tax_numbers_have_no_digit_three_times_in_a_row() -> None:
    assert germany.is_tax_number("77475983209")
    assert not germany.is_tax_number("77745983201")


@given(digits(9))
def test_american_numbers_are_those_of_stdnum(number: str) -> None:
    ssn, itin = pytest.importorskip("stdnum.us.ssn"), pytest.importorskip("stdnum.us.itin")
    assume(number not in ("078051120", "457555462", "219099999"))  # advertised, then retired
    assert united_states.is_ssn(number) == ssn.is_valid(number)
    if number[3:5] >= "66":  # stdnum does not know yet that 50 to 65 are given out, too
        assert united_states.is_itin(number) == itin.is_valid(number)


@given(st.from_regex(r"[A-Z]{5}[0-9]{4}[A-Z]", fullmatch=True))
def test_indian_tax_numbers_are_those_of_stdnum(number: str) -> None:
    stdnum = pytest.importorskip("stdnum.in_.pan")
    assert india.is_pan(number) == stdnum.is_valid(number)


def test_lengths_of_ibans_are_those_of_stdnum() -> None:
    iban: Any = pytest.importorskip("stdnum.iban")
    for country, length in banking._LENGTHS.items():
        fields = iban._ibandb.info(country)[0][1]["bban"].split("!")
        assert length == 4 + sum(int(re.sub("[a-z]", "", field) or 0) for field in fields), country
