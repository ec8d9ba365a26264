"""Long texts in parts that fit: at sentence ends, where a sentence is too long at blanks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

from llmos.data.sentences import sentences

Count = Callable[[str], int]
"""How many tokens a text has."""


def in_parts(text: str, size: int, count: Count) -> list[str]:
    """Parts of at most `size` tokens, as few as reading on gives; joined they are `text`.

    A single character may have more tokens than `size`. The tokens of a part are taken to be at
    most those of its sentences, which are counted once.
    """
    parts: list[str] = []
    left = 0
    for unit, tokens in _units(text, size, count):
        left -= tokens
        if parts and left >= 0:
            parts[-1] += unit
        else:
            parts.append(unit)
            left = size - tokens
    return parts


def windows(text: str, size: int, count: Count) -> list[tuple[int, str]]:
    """Parts that overlap by about half, each with its first character's place in `text`.

    So whatever is shorter than half a window stands in one of them with what is around it.
    """
    units = _units(text, max(1, size // 4), count)
    found: list[tuple[int, str]] = []
    starts = [0, *accumulate(len(unit) for unit, _ in units)]
    first = 0
    while first < len(units):
        last, left = first + 1, size - units[first][1]
        while last < len(units) and units[last][1] <= left:
            left -= units[last][1]
            last += 1
        found.append((starts[first], text[starts[first] : starts[last]]))
        if last == len(units):
            break
        first += max(1, (last - first) // 2)
    return found


def _units(text: str, size: int, count: Count) -> list[tuple[str, int]]:
    """Sentences, or parts of those that are longer than `size`, with their tokens."""
    found: list[tuple[str, int]] = []
    left = list(reversed(sentences(text)))
    while left:
        unit = left.pop()
        tokens = count(unit)
        if len(unit) == 1 or tokens <= size:
            found.append((unit, tokens))
            continue
        middle = len(unit) // 2
        at = unit.rfind(" ", 1, middle + 1)
        at = at if at > middle // 2 else middle
        left += [unit[at:], unit[:at]]
    return found
