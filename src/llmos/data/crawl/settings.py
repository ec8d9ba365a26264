"""What is crawled, how far and how fast."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from urllib.parse import urldefrag, urlsplit

from llmos import __version__
from llmos.errors import UsageError

AGENT = "LLMOS"
"""The name by which robots.txt can speak to this crawler (RFC 9309, 2.2.1)."""


@dataclass(frozen=True, kw_only=True)
class CrawlSettings:
    """`urls` is where the crawl begins; only pages of their sites are fetched."""

    urls: tuple[str, ...]
    depth: int = 20
    """Links from the first pages."""
    addresses: int = 10_000
    """Asked for at most, whatever they answer."""
    delay: float = 1.0
    """Seconds between two requests to a host, at least; a slow host is given longer."""
    page_bytes: int = 8 << 20
    """Larger pages are left."""
    licence: str = ""
    """SPDX expression for pages that link to no licence."""
    contact: str = ""
    """Address of whoever crawls, for the log files of the sites."""

    @property
    def user_agent(self) -> str:
        """The User-Agent header."""
        return f"{AGENT}/{__version__}" + (f" (+{self.contact})" if self.contact else "")

    def to_json(self) -> str:
        """The settings as JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> CrawlSettings:
        """What `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "urls": tuple(values["urls"])})


def start_urls(named: Sequence[str]) -> tuple[str, ...]:
    """Addresses as a user writes them, with a scheme. Raises `UsageError` for what is none."""
    urls = []
    for text in named:
        url = urldefrag(text.strip() if "://" in text else f"https://{text.strip()}").url
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number, for example
            usable = False
        if not usable or any(map(str.isspace, url)):
            raise UsageError(f"{text!r} is no address of a site: write https://example.org/")
        urls.append(url if parts.path else f"{url}/")
    return tuple(dict.fromkeys(urls))
