"""Clients that go before their answer is there: what is done for them ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import Request

from llmos.serving.errors import APIError

T = TypeVar("T")


async def until_gone(request: Request, work: Awaitable[T]) -> T:
    """What `work` gives, unless the client goes first. Raises `APIError` then."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, going = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait((working, going), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise APIError("the client has gone", status=499, code="client_closed_request")
        return working.result()
    finally:
        working.cancel()
        going.cancel()
