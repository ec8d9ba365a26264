"""Addresses of pages in one form, so that they can be compared: hosts and paths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote, urljoin, urlsplit

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]*:[0-9a-f:.]*")
_SAFE = "/;:@&=+$,!*'()~?"


@dataclass(frozen=True)
class Address:
    """Where a page is: scheme, user, port and fragment left aside, host and path in one form."""

    host: str
    """Lower case, punycode (RFC 5891, mapped by UTS 46), without the trailing dot."""
    path: str
    """Path and query, each percent-encoded the same way, without dot segments (RFC 3986, 6.2.2)."""


def address(url: str) -> Address | None:
    """The address that `url` names, also without a scheme ("example.org/page"); None for others."""
    text = url.strip()
    try:
        parts = urlsplit(text if _SCHEME.match(text) else "//" + text.removeprefix("//"))
        host = normal_host(parts.hostname or "")
    except ValueError:  # a bracket that is not closed, for example
        return None
    if not host:
        return None
    query = f"?{parts.query}" if parts.query else ""
    return Address(host, normal_path(parts.path + query))


@lru_cache(maxsize=65536)
def normal_host(name: str) -> str:
    """A host in the form of `Address.host`; "" for what is none."""
    host = unquote(name).strip().lower()
    if not host.isascii():
        import idna

        try:
            host = idna.encode(host, uts46=True).decode()
        except idna.IDNAError:
            return ""
    host = host.rstrip(".")
    return host if _HOST.fullmatch(host) else ""


def normal_path(path: str) -> str:
    """A path, with its query, in the form of `Address.path`."""
    before, mark, query = path.partition("?")
    if "/." in before or not before.startswith("/"):
        before = urljoin("http://host/", before.lstrip("/")).removeprefix("http://host")
    return quote(unquote(before), safe=_SAFE) + (mark + quote(unquote(query), safe=_SAFE))


def without_www(host: str) -> str:
    """The host without "www.", which nearly always serves the same pages."""
    rest = host.removeprefix("www.")
    return rest if "." in rest else host


def domains_of(host: str) -> Iterator[str]:
    """The host and the domains that it lies in: a.example.org, example.org, org."""
    while host:
        yield host
        host = host.partition(".")[2]
