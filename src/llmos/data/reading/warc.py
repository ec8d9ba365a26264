"""Web archives (WARC, ISO 28500; also the WET files of Common Crawl)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmos.data.documents import Document
from llmos.data.reading.parts import Part, Problem, UnreadableError
from llmos.data.reading.streams import LONGEST, TOO_LONG, blocks
from llmos.data.reading.texts import document, page
from llmos.recipe import DataSection

NO_WARC = "a damaged web archive: what stands before the damage was read"
NO_PAGE = "an answer that is no page of text"
FAILED = "an answer with an error, or none"
CUT = "ends within a record: what stands before it was read"

_HTML = ("text/html", "application/xhtml+xml")


class _Stream:
    """Blocks as a file that is read in pieces, each as soon as it is there."""

    def __init__(self, stream: Iterator[bytes]) -> None:
        self._stream = stream
        self._block = b""
        self.end = b""
        """The last four bytes that were read."""

    def read(self, size: int) -> bytes:
        if not self._block:
            self._block = next(self._stream, b"")
        taken, self._block = self._block[:size], self._block[size:]
        self.end = (self.end + taken[-4:])[-4:]
        return taken


def read_warc(part: Part, data: DataSection, record: str) -> Iterator[Document | Problem]:
    """A document for each page of text that was answered with success, and each plain text."""
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    file = _Stream(blocks(part.path))
    number = 0
    try:
        for found in ArchiveIterator(file):
            if found.rec_type in ("response", "resource", "conversion"):
                number += 1
                yield from _record(part, found, f"{part.name}:{number}")
    except ArchiveLoadFailed as error:
        raise UnreadableError(NO_WARC) from error
    if file.end != b"\r\n\r\n":
        raise UnreadableError(CUT)


def _record(part: Part, found: Any, name: str) -> Iterator[Document | Problem]:
    """`found` is warcio's ArcWarcRecord."""
    url = found.rec_headers.get_header("WARC-Target-URI") or ""
    place = url or f"{part.path} {name}"
    http = found.http_headers
    failed = http.get_statuscode() != "200" if http else found.rec_type == "response"
    if failed:
        yield Problem(place, FAILED)
        return
    headers = http.headers if http else []
    given = {key.lower(): value for key, value in headers}
    kind, charset = _content_type(given.get("content-type", "") if http else found.content_type)
    if not kind.startswith("text/") and kind not in _HTML:
        yield Problem(place, NO_PAGE)
        return
    body = found.content_stream().read(LONGEST + 1)
    if len(body) > LONGEST:
        yield Problem(place, TOO_LONG)
        return
    while found.raw_stream.read(1 << 16):
        pass  # what stands behind the end of a chunked answer
    if found.raw_stream.limit > 0:
        raise UnreadableError(CUT)
    robots = tuple(value for key, value in headers if key.lower() == "x-robots-tag")
    tdm = given.get("tdm-reservation", "")
    try:
        if kind in _HTML:
            yield from page(part, name, body, url=url, charset=charset, robots=robots, tdm=tdm)
        else:
            yield from document(part, name, body, charset, url)
    except UnreadableError as error:
        yield Problem(place, str(error))


def _content_type(value: str | None) -> tuple[str, str]:
    """Type and charset of a header such as `text/html; charset=utf-8`."""
    kind, _, parameters = (value or "").partition(";")
    charsets = (
        parameter.partition("=")[2]
        for parameter in parameters.split(";")
        if parameter.strip().lower().startswith("charset=")
    )
    return kind.strip().lower(), next(charsets, "")
