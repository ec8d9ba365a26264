"""Fetch page after page of the sites, nearest first, and log what became of each.

Run in a process of its own, by `python -m llmos.data.crawl FOLDER`: Scrapy's reactor cannot be
started twice, and it stays out of whoever crawls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from typing import Any
from urllib.parse import urldefrag

import scrapy
from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.exceptions import DownloadCancelledError, StopDownload
from scrapy.http import HtmlResponse, Response
from scrapy.linkextractors import LinkExtractor
from scrapy.signals import headers_received
from scrapy.spidermiddlewares.httperror import HttpError
from twisted.python.failure import Failure

from llmos.data.crawl.log import LATER, PAGE, CrawlLog, Visit, frontier
from llmos.data.crawl.manners import SITE_FILE, SITES, RefusedError, site_of
from llmos.data.crawl.settings import CrawlSettings
from llmos.data.reading.html import read_page
from llmos.data.reading.parts import UnreadableError
from llmos.data.steps.language import identify
from llmos.data.steps.language_codes import UNKNOWN
from llmos.provenance.licences import UNRECOGNISED, normalise

HTML = ("text/html", "application/xhtml+xml")


def scrapy_settings(settings: CrawlSettings, log_file: str) -> dict[str, Any]:
    """How Scrapy is set: one request at a time to a host, the nearest pages first, no cookies."""
    return {
        "AUTOTHROTTLE_ENABLED": True,
        "AUTOTHROTTLE_START_DELAY": settings.delay,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
        "COOKIES_ENABLED": False,
        "DOWNLOADER_MIDDLEWARES": {
            "llmos.data.crawl.manners.Manners": 100,
            "scrapy.downloadermiddlewares.offsite.OffsiteMiddleware": None,
        },
        "DOWNLOAD_DELAY": settings.delay,
        "DOWNLOAD_MAXSIZE": settings.page_bytes,
        "DOWNLOAD_TIMEOUT": 60,
        "DOWNLOAD_WARNSIZE": 0,
        "DUPEFILTER_CLASS": "scrapy.dupefilters.BaseDupeFilter",
        SITES: sorted(map(site_of, settings.urls)),
        "LOG_FILE": log_file,
        "LOG_LEVEL": "INFO",
        "REDIRECT_MAX_TIMES": 5,
        "REMOTE_CONTROL_ENABLED": False,  # a server within it, otherwise
        "ROBOTSTXT_OBEY": False,  # Manners does, and more
        "SCHEDULER_MEMORY_QUEUE": "scrapy.squeues.FifoMemoryQueue",
        "DEPTH_PRIORITY": 1,
        "TELNETCONSOLE_ENABLED": False,
        "USER_AGENT": settings.user_agent,
    }


class SiteSpider(scrapy.Spider):
    """All pages of the sites of `crawl_settings` that `log` does not know yet."""

    name = "llmos"

    def __init__(self, crawl_settings: CrawlSettings, log: CrawlLog) -> None:
        super().__init__()
        self._limits = crawl_settings
        self._sites = set(map(site_of, crawl_settings.urls))
        self._log = log
        self._links = LinkExtractor(unique=True)
        last = log.last()
        self._todo = frontier(last, crawl_settings.urls, crawl_settings.depth)
        self._known = {*last, *(url for url, _ in self._todo)}
        done = sum(visit.result not in LATER for visit in last.values())
        self._room = crawl_settings.addresses - done

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> SiteSpider:
        """How Scrapy makes it."""
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider._only_pages, headers_received)
        return spider

    async def start(self) -> AsyncIterator[Request]:
        """What is known and not fetched yet."""
        for url, depth in self._todo:
            for request in self._requests(url, depth):
                yield request

    def parse(self, response: Response, **_: Any) -> Iterator[Request]:
        """Log a page and go on with its links."""
        asked, depth = response.meta["llmos_url"], response.meta["llmos_depth"]
        result, links, page = self._read(response)
        self._log.append(Visit(asked, depth, result, links, page))
        if depth < self._limits.depth:
            for link in links:
                if link not in self._known:
                    self._known.add(link)
                    yield from self._requests(link, depth + 1)

    def failed(self, failure: Failure) -> None:
        """Log why there is no page."""
        request: Request = failure.request  # type: ignore[attr-defined]  # set by Scrapy
        error = failure.value
        if isinstance(error, RefusedError):
            result = error.reason
        elif isinstance(error, HttpError):
            result = f"status_{error.response.status}"
        elif isinstance(error, DownloadCancelledError):
            result = "too_large"
        else:
            self.logger.info("%s: %r", request.url, error)
            result = "failed"
        self._log.append(Visit(request.meta["llmos_url"], request.meta["llmos_depth"], result))

    def _requests(self, url: str, depth: int) -> Iterator[Request]:
        if self._room > 0:
            self._room -= 1
            meta = {"llmos_url": url, "llmos_depth": depth, "depth": depth}
            try:
                yield Request(url, errback=self.failed, meta=meta)
            except ValueError:  # an address that a browser would not follow either
                self._log.append(Visit(url, depth, "no_address"))

    def _read(self, response: Response) -> tuple[str, tuple[str, ...], dict[str, str]]:
        """The result, the links on the site and the record of an answer."""
        kind, charset = _content_type(response)
        if kind not in HTML or not isinstance(response, HtmlResponse):
            return "not_html", (), {}
        robots = [value.decode("latin-1") for value in response.headers.getlist("X-Robots-Tag")]
        tdm = (response.headers.get("TDM-Reservation") or b"").decode("latin-1")
        try:
            page = read_page(response.body, charset, robots, tdm)
        except UnreadableError:
            return "unreadable", (), {}
        links = () if _no_follow(response, robots) else self._links_of(response)
        if page.opted_out:
            return f"opted_out_{page.opted_out.replace('-', '_')}", links, {}
        if not page.text.strip():
            return "no_text", links, {}
        language, licence = identify(page.text), self._licence(response)
        record = {"id": response.url, "url": response.url, "text": page.text}
        record |= {"language": language} if language != UNKNOWN else {}
        record |= {"licence": licence} if licence else {}
        return PAGE, links, {**record, "sha256": sha256(response.body).hexdigest()}

    def _links_of(self, response: HtmlResponse) -> tuple[str, ...]:
        found = (urldefrag(link.url).url for link in self._links.extract_links(response))
        return tuple(dict.fromkeys(url for url in found if site_of(url) in self._sites))

    def _licence(self, response: HtmlResponse) -> str:
        """The licence that the page links to (HTML standard, 4.6.7.9), else that of the crawl."""
        for link in response.css("link[rel~=license]::attr(href), a[rel~=license]::attr(href)"):
            licence = normalise(response.urljoin(link.get()))
            if licence != UNRECOGNISED:
                return licence
        return self._limits.licence

    def _only_pages(self, headers: Any, request: Request, **_: Any) -> None:
        """Stop before the body of what is no page is sent."""
        kind = (headers.get("Content-Type") or b"text/html").decode("latin-1")
        if not request.meta.get(SITE_FILE) and not kind.lower().strip().startswith(HTML):
            raise StopDownload(fail=False)


def _content_type(response: Response) -> tuple[str, str]:
    """Media type and charset of the Content-Type header; HTML where it is missing."""
    header = (response.headers.get("Content-Type") or b"text/html").decode("latin-1").lower()
    kind, _, rest = header.partition(";")
    _, _, charset = rest.partition("charset=")
    return kind.strip(), charset.partition(";")[0].strip(" \"'")


def _no_follow(response: HtmlResponse, robots: list[str]) -> bool:
    stated = [*robots, *response.css("meta[name=robots i]::attr(content)").getall()]
    said = {directive.strip() for value in stated for directive in value.lower().split(",")}
    return not said.isdisjoint(("nofollow", "none"))
