"""Telephone numbers: with the country's code, in common national forms, or said to be one."""

from __future__ import annotations

import re

from llmos.data.steps.personal_data.patterns import (
    Bounds,
    Check,
    Finders,
    Pattern,
    compact,
    said_before,
)
from llmos.data.steps.personal_data.phone_words import BEFORE, BEHIND, LABELS
from llmos.data.steps.personal_data.view import View

# Country codes in use: ITU-T E.164, list of assigned country codes (2024).
_COUNTRY = re.compile(
    r"1|7|2[07]|21[1-368]|2[2346]\d|25[0-8]|29[01789]|3[0-469]|35\d|37[0-8]|38[0-35-79]|"
    r"4[013-9]|42[013]|5[1-8]|5[09]\d|6[0-6]|67[02-9]|68[0-35-9]|69[0-2]|8[1246]|80[08]|"
    r"85[02356]|87[0138]|88[0-368]|9[0-58]|96[0-8]|97[0-79]|99[2-689]"
)
_DATE = re.compile(
    r"(?:1\d|20)\d\d[ \-/](?:1\d|20)\d\d(?!\d)|"
    r"(?:\d\d?([.\-/ ])\d\d?\1(?:19|20)?\d\d(?!\1\d)|"
    r"(?:19|20)\d\d([.\-/ ])\d\d?\2\d\d?(?!\2\d))(?!\d)"
)
_EXTENSION = r"(?: ?(?:x|ext\.?) ?\d{1,6}(?!\w))?"
_END = r"(?!\w)(?![.,/:\-]\d)"


def _no_date(view: View, match: re.Match[str]) -> Bounds | None:
    """The match if it is no date, with the bracket that it closes and not one that it opens."""
    start, end = match.span()
    found = view.plain[start:end]
    if _DATE.match(found):
        return None
    if ")" in found and "(" not in found and view.plain[start - 1 : start] == "(":
        return start - 1, end
    return start + (found[0] == "(" and ")" not in found), end


def _international(view: View, match: re.Match[str]) -> Bounds | None:
    """E.164: a country code in use, up to 15 digits in all; of the +1 countries 11 exactly.

    Written without a break it needs 10 digits, lest a sum be taken for it; after 00 it needs one.
    """
    found = view.plain[match.start() : match.end()]
    main = re.split("x|ext", found)[0].strip("+ ").replace("(0)", "")
    digits = compact(main)
    grouped = len(digits) < len(main)
    if found.startswith("00"):
        digits = digits[2:] if grouped else ""
    if not (8 if grouped else 10) <= len(digits) <= 15 or not _COUNTRY.match(digits):
        return None
    if digits[0] == "1" and (len(digits) != 11 or digits[1] in "01"):
        return None
    return match.span()


def _trunk(view: View, match: re.Match[str]) -> Bounds | None:
    """9 to 12 digits with the 0 that is dialled within a country."""
    digits = compact(view.plain[match.start() : match.end()])
    return _no_date(view, match) if 9 <= len(digits) <= 12 else None


def _bare(view: View, match: re.Match[str]) -> Bounds | None:
    """No book: ten digits with the check digit of ISO 2108, as in use until 2006."""
    digits = view.plain[match.start() : match.end()]
    book = sum((10 - n) * int(d) for n, d in enumerate(digits)) % 11 == 0 and len(digits) == 10
    return None if book else match.span()


def _north_american(view: View, match: re.Match[str]) -> Bounds | None:
    """With the 1 before it, if it is there; one with spaces alone is none in a row of numbers."""
    start, end = match.span()
    before, behind = view.plain[max(0, start - 4) : start], view.plain[end : end + 2]
    if one := re.search(r"(?<![\w.,+/$\-])1[ .\-]$", before):
        return start - len(one[0]), end
    spaced = "-" not in match[0] and "." not in match[0] and ")" not in match[0]
    row = spaced and (re.search(r"\d $", before) or re.match(r" \d", behind))
    return None if row or re.search(r"\d-$", before) else (start, end)


def _named(view: View, match: re.Match[str]) -> Bounds | None:
    """What a word before says to be a telephone number."""
    bounds = _no_date(view, match)
    if not bounds or not re.search(r"\d\d", match[0]):
        return None
    before = view.plain[max(0, bounds[0] - 4) : bounds[0]].rstrip(" \n\t.:#=()-+*_|")[-1:]
    if before and not before.isalpha() and before != "?":
        return None  # no word: no need to look for one
    return bounds if said_before(view, bounds[0], BEFORE) else None


def _labelled(view: View, match: re.Match[str]) -> Bounds | None:
    """What a word behind says to be one: with breaks, or of 9 digits or more."""
    bounds = _no_date(view, match)
    if not bounds or not BEHIND.match(view.plain, bounds[1]):
        return None
    digits = len(compact(match[0]))
    return bounds if digits < bounds[1] - bounds[0] or digits > 8 else None


def _pattern(first: str, rest: str, *shapes: str, check: Check = _no_date) -> Pattern:
    """A number that begins with `first` and is not the end of another."""
    start = first + rf"(?<![\w+$]{first})(?<!\d[ .,/\-]{first})"
    return Pattern(re.compile(start + rest + _END), check, shapes=shapes)


_ANY = r"[(\d](?<![\w+$][(\d])(?<!\d[.,/\-][(\d])"
_DIGITS = r"(?:[ .\-/()]{0,2}\d){6,14}" + _EXTENSION + r"(?!\w)"
# Not in a row of numbers; what is left is few enough to look for the word.
_NO_ROW = r"(?<!\d[ ,;|][(\d])(?<!\d[,;|] [(\d])"

PHONE: Finders = {
    "numbers": (
        # +49 30 123456, +46 (0)8 928 571 38
        Pattern(
            re.compile(
                r"\+(?<![\w+]\+)[ (]{0,2}[1-9](?:[ .\-/()]{0,2}\d){6,15}" + _EXTENSION + r"(?!\w)"
            ),
            _international,
        ),
        # 001-518-640-0854
        _pattern("00", r"[1-9](?:[ .\-/()]{0,2}\d){6,15}" + _EXTENSION, check=_international),
        # 030 1234567, 01.84.17.61.18, (08) 8747 6301: much of Europe, Asia and Africa
        _pattern(
            "0",
            r"[1-9]\d{0,4}(?:\)\d{2,8}|\)?[ .\-/]{1,2}\d{2,8})(?:[ .\-/]{1,2}\d{2,8}){0,4}",
            check=_trunk,
        ),
        # 0612345678, 07700900123, 015112345678: France; mobiles of Britain, of Germany
        _pattern("0", r"(?:[1-9]\d{8}|7\d{9}|1[567]\d{8,9})", "9" * 10, check=_bare),
        # 905-674-3793, (602)272-9781x12, 1.202.555.0123: the countries of +1 (NANPA: from 2 on)
        Pattern(
            re.compile(
                r"[(2-9](?<![\w+$][(2-9])(?<!\d[,/][(2-9])(?<![02-9]-[(2-9])"
                r"(?:(?<=\()[2-9]\d\d\) ?\d{3}[ .\-]|"
                r"(?<=[2-9])\d\d(?:([.\-])\d{3}\1|\ [2-9]\d\d[ \-]))\d{4}" + _EXTENSION + _END
            ),
            _north_american,
            shapes=("(999)", "999-999-9999", "999.999.9999", "999 999 9999", "999 999-9999"),
        ),
        # 13912345678, 139 1234 5678: mobiles of China (numbering plan of 2017)
        _pattern(
            "1",
            r"[3-9]\d(?:\d{8}|([ \-])\d{4}\1\d{4})",
            *("99999999999", "999 9999 9999", "999-9999-9999"),
        ),
        # (11) 98765-4321, 11 98765-4321: Brazil (Anatel, resolution 749); (37) 788-063 and the like
        _pattern(r"\(", r"\d\d\) ?(?:9 ?\d{4}-?\d{4}|\d{3,5}[ \-]\d{3,4})"),
        _pattern("[1-9]", r"\d (?:9\d|[3-5])\d{3}-\d{4}", "99 99999-9999", "99 9999-9999"),
        # 612 34 56 78 Spain, 347 1234567 Italy, 8 (916) 123-45-67 Russia
        _pattern("[67]", r"\d\d(?: \d\d){3}", "999 99 99 99"),
        _pattern("3", r"[2-9]\d[ \-/.]\d{6,7}", *(f"999{by}999999" for by in " -/.")),
        _pattern("8", r"[ \-]?\(?9\d\d\)?[ \-]?\d{3}-\d\d-\d\d", "999-99-99"),
        # any other, where a word says so
        Pattern(re.compile(_ANY + _NO_ROW + _DIGITS), _named),
        Pattern(re.compile(_ANY + _DIGITS), _labelled, LABELS),
    )
}
