"""Texts made to be slow: four times as much may take no more than some four times as long."""

from __future__ import annotations

import time

import pytest

from llmos.data.steps.personal_data.find import find, masked

REPEATED = [
    *("9", "9 ", "0", "00", "0 0", "٠", "٠ ", "12/", "01.", "0 1 ", "1-", "1.", "1.1.1.", "1\n"),
    *("99999999999\n", "9999999,", "1 2 3 4 5 6 7 8 ", "1 1-1.1(1)", "+", "+1", "(", "(1", "()"),
    *("phone ", "phone 1 ", "call at ", "call to to ", "phone: ", "tel 12.34 ", "电话", "电话1"),
    *("555-555-5555 x1", "card ", "card 1", "4111111111111111 ", "4111 1111 1111 1111 ", "a_-"),
    *("AA99 ", "DE89 3704 ", "AA99AAAA", "123-45-6789 ", "RSSMRA85T10A562S ", "RSSMRA", "A1", "1A"),
    *(
        "a@",
        "@",
        "@a.",
        "a.",
        "a.b@",
        "x@y.zz",
        "a-",
        "[at]",
        "a [at] a.",
        "a [",
        "::",
        "1:",
        "1::",
    ),
    *("2a00::1 ", "0x", "0xAb", "bc1", "bc1q", "A", "a", "1", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"),
    *("sk-", "ghp_", "xoxb-", "SG.", "AKIA", "secret_access_key=", "eyJ", "eyJhbGciOiJIUzI1NiJ9."),
    *("-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\nabc", "-----", "x" * 20 + " "),
]


def seconds(text: str) -> float:
    """Of the processor, for looking and masking once."""
    begun = time.process_time()
    masked(text, find(text))
    return time.process_time() - begun


def grows_too_fast(repeated: str, length: int) -> bool:
    """Whether time grows more like the square of the length than like the length."""
    long = (repeated * (length // len(repeated) + 1))[:length]
    return (taken := seconds(long)) > 0.1 and taken > 9 * seconds(long[: length // 4])


def too_slow(length: int) -> list[str]:
    """Those that are so three times in a row, lest another program be in the way."""
    return [r for r in REPEATED if all(grows_too_fast(r, length) for _ in range(3))]


def test_time_grows_with_the_length() -> None:
    assert too_slow(40_000) == []


@pytest.mark.slow
def test_a_megabyte_is_no_trouble() -> None:
    assert too_slow(1_000_000) == []
