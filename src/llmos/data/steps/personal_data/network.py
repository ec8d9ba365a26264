"""Addresses of computers on the internet, which stand for their users (CJEU, C-582/14)."""

from __future__ import annotations

import ipaddress
import re

from llmos.data.steps.personal_data.patterns import Bounds, Finder, Pattern
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
    found = view.plain[match.start() : match.end()]
    if "::" in found and not (found[0] in "23" and len(found.partition(":")[0]) == 4):
        return None
    return match.span() if _ip(found) else None


IP_ADDRESS: tuple[Finder, ...] = (
    Pattern(
        re.compile(r"9(?<![9Aa.\-]9)(?<!9,9)9{0,2}(?:\.9{1,3}){3}(?![9Aa])(?!\.9)"),
        ("9.9",),
        _v4,
        shaped=True,
    ),
    Pattern(
        re.compile(
            r"[0-9A-Fa-f](?<![\w:.][0-9A-Fa-f])[0-9A-Fa-f]{0,3}+:[0-9A-Fa-f:]{2,35}+(?![\w:])"
        ),
        (":",),
        _v6,
    ),
)
