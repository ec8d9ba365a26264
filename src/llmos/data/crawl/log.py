"""What became of each address, one line as soon as it is known: a crawl that was killed goes on.

A line is {"url", "depth", "result", "links", "page"}: `result` is "page" or why there is none,
`links` the addresses on the same site in the order of the page, `page` the record to be written.
What is still to be asked for follows from the lines. (Scrapy's own JOBDIR writes its queue only
when it ends in order, so kill -9 loses it.)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmos.storage import storage_errors

BLOCK = 1 << 16
PAGE = "page"
LATER = ("failed", "robots_unreachable")
"""Results that may be others next time: these are asked for again."""


@dataclass(frozen=True)
class Visit:
    """One line, and where in the file it begins, in bytes."""

    url: str
    depth: int
    result: str
    links: tuple[str, ...] = ()
    page: Mapping[str, str] = field(default_factory=dict)
    offset: int = 0


class CrawlLog:
    """The lines of a crawl in `path`, to be appended to by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[Visit]:
        """The lines in their order, without one that a kill left unfinished."""
        if not self.path.exists():
            return
        offset = 0
        with storage_errors(self.path), self.path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield _visit(line, offset)
                offset += len(line)

    def last(self) -> dict[str, Visit]:
        """The last line on each address, without what was on its page."""
        return {visit.url: replace(visit, page={}) for visit in self}

    def page(self, offset: int) -> Mapping[str, str]:
        """The record of the line at `offset`."""
        with storage_errors(self.path), self.path.open("rb") as file:
            file.seek(offset)
            return _visit(file.readline(), offset).page

    def open(self) -> None:
        """Get ready to append: a line left unfinished is cut off."""
        with storage_errors(self.path):
            self._file = self.path.open("ab+")
            end = self._file.seek(0, os.SEEK_END)
            while end:
                begin = max(0, end - BLOCK)
                self._file.seek(begin)
                found = self._file.read(end - begin).rfind(b"\n")
                end = begin + found + 1
                if found >= 0:
                    break
            self._file.truncate(end)

    def append(self, visit: Visit) -> None:
        """Write a line; it is on the disk when this returns."""
        values = {
            "url": visit.url,
            "depth": visit.depth,
            "result": visit.result,
            "links": visit.links,
            "page": visit.page,
        }
        with storage_errors(self.path):
            self._file.write(json.dumps(values).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())


def _visit(line: bytes, offset: int) -> Visit:
    values = json.loads(line)
    return Visit(
        values["url"],
        values["depth"],
        values["result"],
        tuple(values["links"]),
        values["page"],
        offset,
    )


def frontier(last: Mapping[str, Visit], urls: Iterable[str], depth: int) -> list[tuple[str, int]]:
    """The addresses that are still to be asked for, and their depths, nearest to `urls` first."""
    found = dict.fromkeys(urls, 0)
    for visit in sorted(last.values(), key=lambda visit: (visit.depth, visit.offset)):
        if visit.depth < depth:
            for link in visit.links:
                found.setdefault(link, visit.depth + 1)
    todo = [(url, at) for url, at in found.items() if url not in last or last[url].result in LATER]
    return sorted(todo, key=lambda pair: pair[1])
