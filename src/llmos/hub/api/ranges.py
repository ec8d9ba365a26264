"""Parts of a file that a request asks for (RFC 9110, section 14), and the answer that has them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from llmos.hub.errors import HubError

MOST = 50  # parts of one request: more are answered with the whole file
AT_ONCE = 1 << 18  # bytes; what is smaller is read before the answer begins

Read = Callable[[int, int], Iterator[bytes]]  # from, up to


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `start` up to `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.stop - self.start


def asked_spans(request: Request, size: int, etag: str) -> list[Span] | None:
    """The parts asked for, overlapping ones joined; None: the whole file, which is also meant by
    anything that is no range of bytes, and by an If-Range that names another content.

    Raises `HubError` 416 when the file has none of them.
    """
    header = request.headers.get("range", "")
    unit, _, listed = header.partition("=")
    if unit.strip().lower() != "bytes" or request.headers.get("if-range", etag) != etag:
        return None
    spans = []
    for part in listed.split(","):
        first, dash, last = (text.strip() for text in part.partition("-"))
        numbers = [text for text in (first, last) if text]
        if not dash or not numbers or not all(_is_number(text) for text in numbers):
            return None
        if not first:
            span = Span(max(size - int(last), 0), size)
        else:
            span = Span(int(first), min(int(last) + 1, size) if last else size)
            if last and int(last) < int(first):
                return None
        if span.length > 0:
            spans.append(span)
    if not spans:
        raise HubError(
            416, f"The file has {size} bytes", headers={"Content-Range": f"bytes */{size}"}
        )
    return None if len(spans) > MOST else _joined(spans)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20  # as 2^64 has


def _joined(spans: list[Span]) -> list[Span]:
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: one.start):
        if found and span.start <= found[-1].stop:
            found[-1] = Span(found[-1].start, max(found[-1].stop, span.stop))
        else:
            found.append(span)
    return found


def respond(
    request: Request, size: int, headers: dict[str, str], media_type: str, read: Read
) -> Response:
    """A file, or the parts of it that were asked for; to HEAD what GET would say, without bytes.

    `headers` has its ETag, `read` gives its bytes. Raises `HubError` 416.
    """
    spans = asked_spans(request, size, headers["ETag"])
    if spans is None:
        return _answer(request, 200, size, headers, media_type, lambda: read(0, size))
    if len(spans) == 1:
        span = spans[0]
        headers = {**headers, "Content-Range": f"bytes {span.start}-{span.stop - 1}/{size}"}
        pieces = lambda: read(span.start, span.stop)  # noqa: E731
        return _answer(request, 206, span.length, headers, media_type, pieces)
    border = secrets.token_hex(13)
    heads = [
        f"--{border}\r\nContent-Type: {media_type}\r\n"
        f"Content-Range: bytes {span.start}-{span.stop - 1}/{size}\r\n\r\n".encode()
        for span in spans
    ]
    end = f"--{border}--\r\n".encode()
    length = sum(len(head) + span.length + 2 for head, span in zip(heads, spans, strict=True))

    def parts() -> Iterator[bytes]:
        for head, span in zip(heads, spans, strict=True):
            yield head
            yield from read(span.start, span.stop)
            yield b"\r\n"
        yield end

    kind = f"multipart/byteranges; boundary={border}"
    return _answer(request, 206, length + len(end), headers, kind, parts)


def _answer(
    request: Request,
    status: int,
    length: int,
    headers: dict[str, str],
    media_type: str,
    pieces: Callable[[], Iterator[bytes]],
) -> Response:
    headers = {**headers, "Content-Length": str(length)}
    if request.method == "HEAD":
        return Response(None, status, headers, media_type)
    if length <= AT_ONCE:
        return Response(b"".join(pieces()), status, headers, media_type)
    stream = pieces()
    first = next(stream)  # a blob that cannot be read is an answer, as long as none has begun

    def whole() -> Iterator[bytes]:
        yield first
        yield from stream

    return StreamingResponse(whole(), status, headers, media_type)
