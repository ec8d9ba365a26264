"""Addresses of computers on the internet, which stand for their users (CJEU, C-582/14)."""

from __future__ import annotations

import ipaddress
import re

from llmos.data.steps.personal_data.patterns import Bounds, Finders, Pattern
from llmos.data.steps.personal_data.view import View

_VERSION = re.compile(
    r"(?:\bv|\bver\.?|versions?|releases?|firmware|build|[=<>~^]=|\w-|\bsections?|§)[ :=]*$", re.I
)


def _ip(found: str) -> bool:
    """Whether it is an address that is reached worldwide (IANA special-purpose registries)."""
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return False
    return address.is_global and not address.is_multicast


def _v4(view: View, match: re.Match[str]) -> Bounds | None:
    """No version or section: neither said to be one nor four numbers under 20, as in 1.2.3.4.

    Of random addresses 1 in 27,000 has four numbers under 20.
    """
    start, end = match.span()
    found = view.plain[start:end]
    if all(int(part) < 20 for part in found.split(".")) or not _ip(found):
        return None
    return None if _VERSION.search(view.plain[max(0, start - 12) : start]) else (start, end)


def _v6(view: View, match: re.Match[str]) -> Bounds | None:
    """All eight groups, or a shortened one of the block in use, 2000::/3 (IANA)."""
    start, end = match.span()
    before = _GROUPS.match(view.plain[max(0, start - _V6_CHARACTERS) : start][::-1])
    behind = _GROUPS.match(view.plain, end, end + _V6_CHARACTERS)
    start -= before.end() if before else 0
    end = behind.end() if behind else end
    found = view.plain[start:end].rstrip(":")
    if view.plain[start - 1 : start].isalnum() or view.plain[end : end + 1].isalnum():
        return None
    if "::" in found and not (found[0] in "23" and found.find(":") == 4):
        return None
    return (start, start + len(found)) if _ip(found) else None


_V6_CHARACTERS = 39
_GROUPS = re.compile(r"[0-9A-Fa-f:]+")
IP_ADDRESS: Finders = {
    "text": (
        Pattern(
            re.compile(r"9(?<![9Aa.\-]9)(?<!9,9)9{0,2}(?:\.9{1,3}){3}(?![9Aa])(?!\.9)"),
            _v4,
            shapes=(".9.9", ".99.9", ".999.9"),
            shaped=True,
        ),
        # From a group within on, as a digit would stop the search too often.
        Pattern(re.compile(r":[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]*+"), _v6),
    )
}
