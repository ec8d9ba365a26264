"""What finds one form of personal data: a cheap test, a regular expression, a check of the match.

Each regular expression begins with a character, so that the search skips to it at the speed of
a string search, and says only then what may not stand before; none may take more than linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple, Protocol

from llmos.data.steps.personal_data.view import View

Bounds = tuple[int, int]
"""Where something begins and ends, in characters."""
Check = Callable[[View, re.Match[str]], Bounds | None]
"""Says what part of a match is personal data; None: none of it."""
Scope = Literal["text", "numbers", "tokens"]
_CONTEXT_CHARACTERS = 48


class Finder(Protocol):
    """Gives where a kind of personal data stands, in order."""

    def spans(self, view: View) -> Iterator[Bounds]: ...


Finders = Mapping[Scope, tuple[Finder, ...]]
"""Finders by what they look at: all of a text, or excerpts of it (see `excerpts`)."""


class Pattern(NamedTuple):
    """Found by a regular expression over the plain text, or if `shaped` over its shape.

    Looked for only where one of `hints` is in the plain text and one of `shapes` in its shape
    (none: always).
    """

    regex: re.Pattern[str]
    check: Check | None = None
    hints: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    shaped: bool = False

    def spans(self, view: View) -> Iterator[Bounds]:
        """Where it stands in the text."""
        if self.hints and not any(hint in view.plain for hint in self.hints):
            return
        if self.shapes and not any(shape in view.shape for shape in self.shapes):
            return
        for match in self.regex.finditer(view.shape if self.shaped else view.plain):
            bounds = self.check(view, match) if self.check else match.span()
            if bounds:
                yield bounds


class Form(NamedTuple):
    """A number of one fixed shape, such as 999-99-9999.

    `check` is called with its digits and letters alone. Where `words` is given, the number counts
    only if that expression is found, in small letters, just before it.
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
    """A number of this shape: 9 stands for a digit, A for a capital, a for a small letter.

    One that goes on on either side, as in a row of a table, is another number.
    """
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
