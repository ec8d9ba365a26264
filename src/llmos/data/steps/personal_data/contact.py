"""E-mail addresses, also in the spelling that hides them from programs."""

from __future__ import annotations

import re

from llmos.data.steps.personal_data.patterns import Bounds, Finder, Pattern
from llmos.data.steps.personal_data.view import View

# Lengths of RFC 5321, 4.5.3.1 and RFC 1035, 2.3.4; of the signs that RFC 5322 allows before the @
# those that are in use. A name after the last dot is letters (RFC 3696, 2), or an encoded one.
_LOCAL = r"\w(?<!\w\w)[\w.+%&'\-]{0,63}+"
_LABEL = r"\w(?:[\w\-]{0,61}\w)?"
_TOP = r"(?:xn--[A-Za-z0-9\-]{2,59}|[A-Za-zÿ]{2,24})(?!\w)"
_HIDDEN_AT = r" ?[\[({] ?(?:at|AT|@) ?[\])}] ?"
_HIDDEN_DOT = r"(?:\.| ?[\[({] ?(?:dot|DOT|\.) ?[\])}] ?)"
# What looks like a top-level domain and is none, as in icon@2x.png.
_FILES = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "json", "html", "pdf"})


def _address(view: View, match: re.Match[str]) -> Bounds | None:
    found = view.plain[match.start() : match.end()]
    ending = re.split(r"[^\w]+", found.rstrip("])}"))[-1].lower()
    # The user git of a server is nobody: git@github.com:...
    return None if ending in _FILES or found.startswith("git@") else match.span()


EMAIL: tuple[Finder, ...] = (
    Pattern(re.compile(rf"{_LOCAL}@(?:{_LABEL}\.){{1,10}}{_TOP}"), ("@",), _address),
    Pattern(
        re.compile(rf"{_LOCAL}{_HIDDEN_AT}(?:[A-Za-z0-9\-]{{1,63}}{_HIDDEN_DOT}){{1,10}}{_TOP}"),
        tuple(f"{b}{s}{word}" for b in "[({" for s in ("", " ") for word in ("at", "AT", "@")),
        _address,
    ),
)
