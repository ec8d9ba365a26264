"""E-mail addresses, also in the spelling that hides them from programs."""

from __future__ import annotations

import re

from llmos.data.steps.personal_data.patterns import Bounds, Finders, Pattern
from llmos.data.steps.personal_data.view import View

# Lengths of RFC 5321, 4.5.3.1 and RFC 1035, 2.3.4; of the signs that RFC 5322 allows before the @
# those that are in use. A name after the last dot is letters (RFC 3696, 2), or an encoded one.
_LOCAL_CHARACTERS = 64
_LOCAL = re.compile(r"[\w.+%&'\-]*\w")
_LABEL = r"\w(?:[\w\-]{0,61}\w)?"
_TOP = r"(?P<top>xn--[A-Za-z0-9\-]{2,59}|[A-Za-zÿ]{2,24})(?!\w)"
_DOT = r"(?:\.| ?[\[({] ?(?:dot|DOT|\.) ?[\])}] ?)"
# What looks like a top-level domain and is none, as in icon@2x.png.
_FILES = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "json", "html", "pdf"})


def _address(view: View, match: re.Match[str]) -> Bounds | None:
    """With the name before the sign @."""
    return _named_by(view, match.start(), match)


def _named_by(view: View, end: int, match: re.Match[str]) -> Bounds | None:
    """The address whose name ends at `end`; it is read backwards."""
    name = _LOCAL.match(view.plain[max(0, end - _LOCAL_CHARACTERS) : end][::-1])
    if not name or match["top"].lower() in _FILES:
        return None
    # The user git of a server is nobody: git@github.com:...
    return None if name[0] == "tig" else (end - name.end(), match.end())


def _hidden(view: View, match: re.Match[str]) -> Bounds | None:
    """The same, with a space before the bracket or none."""
    end = match.start() - (view.plain[match.start() - 1 : match.start()] == " ")
    return _named_by(view, end, match)


EMAIL: Finders = {
    "text": (
        Pattern(re.compile(rf"@(?:{_LABEL}\.){{1,10}}{_TOP}"), _address),
        # name [at] example (dot) org
        Pattern(
            re.compile(
                rf"[\[({{](?<=[\w ].) ?(?:at|AT|@) ?[\])}}] ?(?:{_LABEL}{_DOT}){{1,10}}{_TOP}"
            ),
            _hidden,
        ),
    )
}
