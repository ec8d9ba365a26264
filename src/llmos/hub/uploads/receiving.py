"""A request's body, taken in while it arrives, with little memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable

from starlette.concurrency import run_in_threadpool

from llmos.hub.errors import HubError

PIECE = 1 << 20  # bytes handed on at once


async def receive(
    stream: AsyncIterable[bytes], write: Callable[[bytes], object], limit: int
) -> int:
    """Give the body to `write` in pieces of about 1 MiB, and return its length in bytes.

    `write` runs in a thread, while the next piece arrives. Raises `HubError` 413 above `limit`
    bytes, and whatever `write` raises.
    """
    pieces: list[bytes] = []
    waiting, size = 0, 0
    writing: asyncio.Task[object] | None = None
    try:
        async for piece in stream:
            size += len(piece)
            if size > limit:
                raise HubError(413, f"More than the {limit:,} bytes came that are allowed here")
            pieces.append(piece)
            waiting += len(piece)
            if waiting >= PIECE:
                if writing is not None:
                    await writing
                writing = asyncio.create_task(run_in_threadpool(write, b"".join(pieces)))
                pieces, waiting = [], 0
        if writing is not None:
            await writing
        if pieces:
            await run_in_threadpool(write, b"".join(pieces))
    finally:
        if writing is not None and not writing.done():  # nobody closes what a thread writes to
            await asyncio.gather(writing, return_exceptions=True)
    return size
