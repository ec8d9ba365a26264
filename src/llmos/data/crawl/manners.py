"""What a site allows: asked before anything else of it, and obeyed for every address.

robots.txt (RFC 9309), ai.txt and tdmrep.json are fetched once a site and read by
`llmos.data.optouts.rules`. Of robots.txt holds what it says to LLMOS by that name; where it does
not name it, what it says to all and to crawlers for training. A robots.txt that cannot be had
(status 5xx, no answer) shuts all (RFC 9309, 2.3.1.4), where Scrapy's own middleware lets all in.
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from protego import Protego
from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.exceptions import IgnoreRequest
from scrapy.extensions.throttle import AutoThrottle
from scrapy.http import Response
from scrapy.http.request import NO_CALLBACK
from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.defer import Deferred

from llmos.data.crawl.settings import AGENT
from llmos.data.optouts.addresses import address, without_www
from llmos.data.optouts.rules import Rule, ai_rule, robots_rule, tdm_rule

SITES = "LLMOS_SITES"
"""The setting with the sites (see `site_of`) that are crawled."""
SITE_FILE = "llmos_site_file"
"""In a request's meta: for a file that tells what is allowed, not for a page."""
LARGEST = 500 << 10
"""Bytes of a robots.txt that are read (RFC 9309, 2.5)."""
PORTS = {"http": 80, "https": 443}
_FIRST = 1000  # priority over pages
_logger = logging.getLogger(__name__)


class RefusedError(IgnoreRequest):
    """An address that is not asked for; `reason` is a slug."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def site_of(url: str) -> str:
    """Host and port of a web address; http and https, with and without "www.", are one site.

    "" for addresses of other kinds.
    """
    parts, where = urlsplit(url), address(url)
    if parts.scheme not in PORTS or where is None:
        return ""
    host = without_www(where.host)
    return host if parts.port in (None, PORTS[parts.scheme]) else f"{host}:{parts.port}"


class Manners:
    """A middleware of Scrapy's downloader that lets through what is on the sites and allowed."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._rules: dict[str, list[tuple[str, Rule]]] = {}
        self._waiting: dict[str, list[Deferred[None]]] = {}

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Manners:
        """How Scrapy makes it."""
        return cls(crawler)

    async def process_request(self, request: Request) -> None:
        """Raises `RefusedError` for an address that must not be asked for."""
        if request.meta.get(SITE_FILE):
            return
        where = address(request.url)
        if where is None or site_of(request.url) not in self._crawler.settings[SITES]:
            raise RefusedError("off_site")
        parts = urlsplit(request.url)
        origin = f"{parts.scheme}://{parts.netloc}"
        for reason, rule in await self._of(origin):
            if rule(where.path):
                raise RefusedError(reason)

    async def _of(self, origin: str) -> list[tuple[str, Rule]]:
        """The rules of a site, fetched by the first that asks; the others wait for them."""
        if origin not in self._rules:
            if origin in self._waiting:
                waiting: Deferred[None] = Deferred()
                self._waiting[origin].append(waiting)
                await maybe_deferred_to_future(waiting)
            else:
                self._waiting[origin] = []
                try:
                    self._rules[origin] = await self._fetch(origin)
                finally:
                    for waiting in self._waiting.pop(origin):
                        waiting.callback(None)
        return self._rules[origin]

    async def _fetch(self, origin: str) -> list[tuple[str, Rule]]:
        robots = await self._file(f"{origin}/robots.txt")
        if robots is None or robots.status >= 500 or robots.status == 429:
            return [("robots_unreachable", lambda path: True)]
        rules: list[tuple[str, Rule]] = []
        if robots.status < 300:
            rules.append(("robots_txt", self._robots(_text(robots))))
        ai = await self._file(f"{origin}/ai.txt")
        if ai is not None and ai.status < 300:
            rules.append(("ai_txt", ai_rule(_text(ai))))
        tdm = await self._file(f"{origin}/.well-known/tdmrep.json")
        if tdm is not None and tdm.status < 300:
            try:
                rules.append(("tdm_reservation", tdm_rule(_text(tdm))))
            except (ValueError, RecursionError) as error:  # many sites answer anything with a page
                _logger.info("%s is not read: %s", tdm.url, error)
        return rules

    async def _file(self, url: str) -> Response | None:
        """The answer for a file of a site; None where there was none."""
        assert self._crawler.engine is not None  # there is one while requests are processed
        request = Request(url, priority=_FIRST, meta={SITE_FILE: True}, callback=NO_CALLBACK)
        try:
            return await self._crawler.engine.download_async(request)
        except Exception as error:  # whatever way of failing: the site could not be asked
            _logger.info("%s could not be fetched: %r", url, error)
            return None

    def _robots(self, content: str) -> Rule:
        parser = Protego.parse(content)
        delay = parser.crawl_delay(AGENT)
        throttle = self._crawler.get_extension(AutoThrottle)
        if delay and throttle:
            throttle.mindelay = max(throttle.mindelay, float(delay))
        if AGENT.lower() in content.lower():
            return lambda path: not parser.can_fetch(f"https://host{path}", AGENT)
        return robots_rule(content)


def _text(response: Response) -> str:
    return response.body[:LARGEST].decode("utf-8-sig", "replace")
