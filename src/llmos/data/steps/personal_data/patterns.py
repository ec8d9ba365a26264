"""What finds one form of personal data: a cheap test, a regular expression, a check of the match.

Each regular expression begins with a character, so that the search skips to it at the speed of
a string search, and says only then what may not stand before; none may take more than linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from llmos.data.steps.personal_data.view import View

Bounds = tuple[int, int]
Check = Callable[[View, re.Match[str]], Bounds | None]
_CONTEXT_CHARACTERS = 48


class Finder(Protocol):
    """Gives where a kind of personal data stands in a text: (start, end), in order."""

    def spans(self, view: View) -> Iterator[Bounds]: ...


def whole(view: View, match: re.Match[str]) -> Bounds | None:
    """A check that is content with what the expression found."""
    return match.span()


class Pattern(NamedTuple):
    """Found by a regular expression over the plain text, or over its shape.

    `hints` are strings of which one must be in the text, or with `shaped_hints` in its shape (none:
    always looked for); `check` says what part of a match it is, or None for not at all.
    """

    regex: re.Pattern[str]
    hints: tuple[str, ...] = ()
    check: Check = whole
    shaped: bool = False
    shaped_hints: bool = False

    def spans(self, view: View) -> Iterator[Bounds]:
        """Where it stands in the text."""
        hinted = view.shape if self.shaped or self.shaped_hints else view.plain
        if self.hints and not any(hint in hinted for hint in self.hints):
            return
        for match in self.regex.finditer(view.shape if self.shaped else view.plain):
            bounds = self.check(view, match)
            if bounds:
                yield bounds


class Form(NamedTuple):
    """A number of one fixed form, such as 999-99-9999 (9 a digit, A a capital, a a small letter).

    `check` is called with the digits and letters alone. Where `words` is given, the number counts
    only if that expression is found, in small letters, just before it. A number that goes on on
    either side, as in a row of a table, is another number.
    """

    shape: str
    regex: re.Pattern[str]
    check: Callable[[str], bool]
    words: re.Pattern[str] | None = None

    def spans(self, view: View) -> Iterator[Bounds]:
        """Where it stands in the text."""
        if self.shape not in view.shape:
            return
        for match in self.regex.finditer(view.shape):
            start, end = match.span()
            if self.words and not said_before(view, start, self.words):
                continue
            if self.check(compact(view.plain[start:end])):
                yield start, end


def form(shape: str, check: Callable[[str], bool], words: re.Pattern[str] | None = None) -> Form:
    """A form by its shape; separators before or behind which a number would go on are known."""
    literal = re.escape(shape)
    joints = r"[ .,/:\-]" if " " in shape else r"[.,/:\-]"
    regex = rf"{literal}(?![9Aa])(?!{joints}9)(?<![9Aa+]{literal})(?<!9{joints}{literal})"
    return Form(shape, re.compile(regex), check, words)


def compact(found: str) -> str:
    """Its letters and digits alone."""
    return "".join(filter(str.isalnum, found))


def said_before(view: View, start: int, words: re.Pattern[str]) -> bool:
    """Whether `words` match in the few words, in small letters, that end where `start` is."""
    return words.search(view.text[max(0, start - _CONTEXT_CHARACTERS) : start].lower()) is not None
