"""Views and excerpts: offsets stay those of the text, and nothing is lost by looking at less."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.data.steps.personal_data import find as find_module
from llmos.data.steps.personal_data.excerpts import Excerpt, excerpts_of
from llmos.data.steps.personal_data.find import find
from llmos.data.steps.personal_data.view import view_of


@given(st.text())
def test_a_view_has_a_character_for_each_of_the_text(text: str) -> None:
    view = view_of(text)
    assert view.text == text
    assert len(view.plain) == len(view.shape) == len(text)
    for original, plain, shape in zip(text, view.plain, view.shape, strict=True):
        digit = unicodedata.decimal(original, None) if original <= "\uffff" else None
        assert (shape == "9") == (digit is not None)
        if digit is not None:
            assert plain == str(digit)
        elif original.isascii():
            assert plain == original


def test_what_a_view_makes_of_scripts() -> None:
    assert view_of("٣५７ Ａ＠ \u00a0 – ‑ é Ж 中 한 ก 𝟗").plain == "357 A@   - - ÿ ÿ ? ? ? ?"


def test_a_surrogate_that_stands_alone_is_no_trouble() -> None:
    assert [one.kind for one in find("\ud800 jane@example.org")] == ["email"]


PIECES = [
    *("jane@example.org", "202-555-0143", "+44 20 7946 0958", "4111 1111 1111 1111"),
    *("GB29 NWBK 6016 1331 9268 19", "219-09-9999", "86095742719", "AB123456C", "93.184.216.34"),
    *("11.222.333/0001-81", "12.ABC.345/01DE-35", "RSSMRA85T10A562S", "ABCPE1234F", "12345678Z"),
    *("2606:4700::6810:84e5", "16UwLL9Risc3QfPqBUvKofHmBQ7wMtjvM", "sk-a1B2c3D4" * 6),
    *("tel. 555 0143", "4111111111111111", "450 0840 office", "٠٢٠ ٧٩٤٦ ٠٩٥٨"),
    *("NHS number: 9434765919", "Aadhaar 234123412346"),
]
WORDS = ["word ", "and so on ", "the year 1984, ", "文字", "\n", ", ", " ", "x" * 70 + " "]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.sampled_from(WORDS), max_size=30).map("".join))
def test_excerpts_lose_nothing(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:

        def everything(text: str) -> dict[str, Excerpt]:
            whole = Excerpt(view_of(text), [0], [0])
            return {"text": whole, "numbers": whole, "tokens": whole}

        patch.setattr(find_module, "excerpts_of", everything)
        expected = find(text)
    assert find(text) == expected


def test_prose_has_no_excerpts() -> None:
    assert excerpts_of("In 1984, 12 of 345 were there, 3.14 and 2.71 " * 50).keys() == {"text"}


@pytest.mark.parametrize(
    "row",
    [
        "12 345 6789012 3.14159265 1 2 3 4 5 6 7 8",
        "12, 345, 6789012, 3.14159265, 1, 2, 3",
        "1;6789012;-3.14159265;2",
        "| 6789012 | 3.14159265 | 12 |",
    ],
)
def test_rows_of_a_table_are_passed_over(row: str) -> None:
    assert excerpts_of("\n".join([f"x\n{row}"] * 50)).keys() == {"text"}


@pytest.mark.parametrize("separator", [" ", ", ", "; ", "\t", " | "])
def test_a_number_in_a_table_is_found(separator: str) -> None:
    numbers = ["1", "23", "4.5", "86095742719", "6", "7", "4111111111111111", "8", "9", "10", "11"]
    kinds = [one.kind for one in find(separator.join(numbers))]
    assert kinds == ["national_id", "credit_card"]
