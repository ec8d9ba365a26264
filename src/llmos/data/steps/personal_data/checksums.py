"""Check digits that several kinds of numbers share. Each takes digits (and letters) alone."""

from __future__ import annotations

# Verhoeff, Error Detecting Decimal Codes (1969): multiplication in the dihedral group of order 10,
# and the permutation that a digit goes through once more with each place.
_DIHEDRAL = tuple(
    tuple(
        (a + b) % 5 if a < 5 and b < 5
        else 5 + (a + b) % 5 if a < 5
        else 5 + (a - b) % 5 if b < 5
        else (a - b) % 5
        for b in range(10)
    )
    for a in range(10)
)  # fmt: skip
_PERMUTATION = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B: every second digit from the right doubled, the sum a tenfold."""
    total = sum(map(int, digits[-1::-2]))
    total += sum(2 * d - 9 if d > 4 else 2 * d for d in map(int, digits[-2::-2]))
    return total % 10 == 0


def verhoeff(digits: str) -> bool:
    """Whether the last digit is the one of J. Verhoeff's code."""
    state = 0
    for place, digit in enumerate(map(int, reversed(digits))):
        for _ in range(place % 8):
            digit = _PERMUTATION[digit]
        state = _DIHEDRAL[state][digit]
    return state == 0


def mod_11_10(digits: str) -> bool:
    """ISO/IEC 7064 MOD 11,10."""
    product = 10
    for digit in map(int, digits[:-1]):
        product = ((digit + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[-1])


def mod_11_2(characters: str) -> bool:
    """ISO/IEC 7064 MOD 11-2; the check character X counts 10."""
    check = 10 if characters[-1] in "Xx" else int(characters[-1])
    remainder = 0
    for digit in map(int, characters[:-1]):
        remainder = (remainder + digit) * 2 % 11
    return (remainder + check) % 11 == 1


def weighted(digits: str, weights: tuple[int, ...]) -> int:
    """The sum of the digits by their weights; letters count as in ASCII from 0 on (A: 17)."""
    return sum((ord(digit) - 48) * weight for digit, weight in zip(digits, weights, strict=True))
