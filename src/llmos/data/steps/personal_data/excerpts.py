"""The places of a text that are worth a look: few in prose, so that most patterns cost nothing.

| scope   | what is looked for                                                       |
|---------|--------------------------------------------------------------------------|
| numbers | seven digits or more, at most two other signs between one and the next   |
| tokens  | twenty ASCII letters, digits, _ and - in a row                           |

Rows of a table are left out: more than eight decimals or numbers of seven digits or fewer, with
spaces between, and single ones behind a comma, a semicolon or a bar.

Each place is taken with some of the text around it. An excerpt is a view of its own, a line each
place; `placed` says where in the text something stands.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from llmos.data.steps.personal_data.patterns import Scope
from llmos.data.steps.personal_data.view import View, view_of

_AROUND = 64
"""Characters taken before and behind: more than any pattern or check looks beyond its digits."""
_NUMBERS = re.compile(r"9(?<!99)(?:[^9,;|\n]{0,2}9){6,}+")
_CELL = r"-?(?:9{1,7}|9+\.9+)"
_ROW = re.compile(rf"{_CELL}(?: {{1,2}}{_CELL}){{8,}}")
_ONE = re.compile(_CELL)
_TOKEN = "x" * 20
_TOKENS = re.compile(_TOKEN + "x*+")
_TOKEN_CHARACTERS = bytes(
    ord("x") if (chr(byte).isalnum() and byte < 128) or byte in b"_-" else 32 for byte in range(256)
)


class Excerpt(NamedTuple):
    """Places of a text, and where each begins there (`origins`) and here (`starts`)."""

    view: View
    starts: list[int]
    origins: list[int]

    def placed(self, position: int) -> int:
        """Where in the text that stands which is here at `position`."""
        at = bisect_right(self.starts, position) - 1
        return position - self.starts[at] + self.origins[at]


def excerpts_of(text: str) -> dict[Scope, Excerpt]:
    """The text by scope; a scope is missing where there is nothing of it."""
    view = view_of(text)
    runs = view.plain.encode("latin-1").translate(_TOKEN_CHARACTERS).decode("latin-1")
    found: dict[Scope, Excerpt | None] = {
        "text": Excerpt(view, [0], [0]),
        "numbers": _excerpt(view, filter(_is_no_row, _NUMBERS.finditer(view.shape))),
        "tokens": _excerpt(view, _TOKENS.finditer(runs)) if _TOKEN in runs else None,
    }
    return {scope: excerpt for scope, excerpt in found.items() if excerpt}


def _is_no_row(match: re.Match[str]) -> bool:
    """Whether it is neither a row of a table nor a cell with a comma or the like before it."""
    if _ONE.fullmatch(match[0]):
        before = match.string[max(0, match.start() - 4) : match.start()].rstrip(" \t-")
        return before[-1:] not in (",", ";", "|")
    return not _ROW.fullmatch(match[0])


def _excerpt(view: View, matches: Iterable[re.Match[str]]) -> Excerpt | None:
    places: list[list[int]] = []
    for match in matches:
        start, end = max(0, match.start() - _AROUND), match.end() + _AROUND
        if places and start <= places[-1][1]:
            places[-1][1] = end
        else:
            places.append([start, end])
    if not places:
        return None
    parts = [View(*(form[start:end] for form in view)) for start, end in places]
    starts, at = [], 0
    for part in parts:
        starts.append(at)
        at += len(part.text) + 1
    joined = View(*("\n".join(forms) for forms in zip(*parts, strict=True)))
    return Excerpt(joined, starts, [start for start, _ in places])
