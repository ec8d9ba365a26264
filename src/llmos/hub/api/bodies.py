"""Request bodies: read whole within bounds of size, memory and patience."""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.types import Message, Receive

from llmos.hub.errors import HubError, bad_request

SMALL = 1 << 20  # bytes; read before it is known who asks. What is larger waits for that
IDLE = 60.0  # seconds without a byte
SLOWEST = 256  # bytes per second on average, after the first minute


def declared_size(request: Request) -> int | None:
    """Bytes that the body will have; None when it comes in chunks of no declared number.

    Raises `HubError` 400 for a Content-Length that is no number.
    """
    text = request.headers.get("content-length")
    if text is None:
        return None if "transfer-encoding" in request.headers else 0
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise bad_request("Content-Length is no number")
    return int(text)


class Memory:
    """Bytes of bodies that are held at this moment, over all requests. Used on the event loop."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    def take(self, size: int) -> None:
        """Note bytes as held. Raises `HubError` 503 when there is no room for them."""
        if self.held + size > self.most:
            raise HubError(
                503, "The hub has its hands full: try again", headers={"Retry-After": "5"}
            )
        self.held += size


async def read_body(request: Request, limit: int, memory: Memory, taken: list[int]) -> bytes:
    """The whole body. What is taken of `memory` is added to `taken`, to be given back.

    Raises `HubError` 413 above `limit` bytes, 408 from a sender too slow, 503 without memory.
    """
    line = "The body is over {limit:,} bytes: send large files as LFS"
    too_large = HubError(413, line, values={"limit": limit})
    if (declared_size(request) or 0) > limit:
        raise too_large
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise too_large
        memory.take(len(piece))
        taken.append(len(piece))
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def patient(receive: Receive) -> Receive:
    """`receive`, which gives up on a sender that stops or drips: it would hold a place for ever."""
    began = time.monotonic()
    size, whole = 0, False

    async def next_message() -> Message:
        nonlocal size, whole
        if whole:  # from here on, this only waits for the client to leave
            return await receive()
        try:
            async with asyncio.timeout(IDLE):
                message = await receive()
        except TimeoutError:
            raise HubError(408, f"Nothing came for {IDLE:.0f} s: send the body again") from None
        if message["type"] == "http.request":
            size += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            waited = time.monotonic() - began
            if not whole and waited > IDLE and size < waited * SLOWEST:
                raise HubError(408, "The body comes too slowly")
        return message

    return next_message
