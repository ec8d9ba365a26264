"""Long texts in parts that fit: at sentence ends, where a sentence is too long at blanks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmos.data.sentences import sentences

Count = Callable[[str], int]
"""How many tokens a text has."""


def in_parts(text: str, size: int, count: Count) -> list[str]:
    """Parts of at most `size` tokens, as few as reading on gives; joined they are `text`.

    A single character may have more tokens than `size`.
    """
    return ["".join(part) for part in _packed(_units(text, size, count), size, count)]


def windows(text: str, size: int, count: Count) -> list[tuple[int, str]]:
    """Parts that overlap by about half, each with its first character's place in `text`.

    So whatever is shorter than half a window stands in one of them with what is around it.
    """
    units = _units(text, max(1, size // 4), count)
    found: list[tuple[int, str]] = []
    starts = [0]
    for unit in units:
        starts.append(starts[-1] + len(unit))
    first = 0
    while first < len(units):
        last = first + 1
        while last < len(units) and count(text[starts[first] : starts[last + 1]]) <= size:
            last += 1
        found.append((starts[first], text[starts[first] : starts[last]]))
        if last == len(units):
            break
        first += max(1, (last - first) // 2)
    return found


def _units(text: str, size: int, count: Count) -> list[str]:
    """Sentences, or parts of those that are longer than `size`."""
    found: list[str] = []
    left = list(reversed(sentences(text)))
    while left:
        unit = left.pop()
        if len(unit) == 1 or count(unit) <= size:
            found.append(unit)
            continue
        middle = len(unit) // 2
        at = unit.rfind(" ", 1, middle + 1)
        at = at if at > middle // 2 else middle
        left += [unit[at:], unit[:at]]
    return found


def _packed(units: Sequence[str], size: int, count: Count) -> list[list[str]]:
    parts: list[list[str]] = []
    for unit in units:
        if parts and count("".join([*parts[-1], unit])) <= size:
            parts[-1].append(unit)
        else:
            parts.append([unit])
    return parts
