"""Who may ask, how often, and how much: API keys, rates, sizes of requests and slow senders.

As ASGI middleware, outside of everything else: what is refused here costs next to nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmos.connections import LEAST_RATE
from llmos.errors import UsageError
from llmos.serving.errors import APIError

OPEN = ("/health",)
"""Paths for which nobody needs a key."""
_MOST_CALLERS = 10_000


def read_keys(file: Path) -> frozenset[str]:
    """The keys in a file, one a line; blank lines and those that begin with # are left aside.

    Raises `UsageError` for a file that holds none.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read ({error}): give a text file of keys") from error
    keys = frozenset(line.strip() for line in lines if line.strip() and line.lstrip()[0] != "#")
    if not keys:
        raise UsageError(f"{file} holds no key: write one a line, or leave --api-keys out")
    return keys


class Rates:
    """A bucket of tokens for each caller, which refills evenly (as in RFC 2697)."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = float(per_minute), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str) -> float:
        """0 where the caller may ask now, and it counts; else the seconds until then."""
        now = self._clock()
        left, then = self._buckets.pop(caller, (self._most, now))
        left = min(self._most, left + (now - then) * self._most / 60)
        is_free = left >= 1
        self._buckets[caller] = (left - is_free, now)
        if len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        return 0.0 if is_free else (1 - left) * 60 / self._most


class Limits:
    """The middleware. `keys`: none, and everybody may ask.

    `seconds`: to send a body, beside those that its size gives (`LEAST_RATE`).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: frozenset[str] = frozenset(),
        per_minute: int = 0,
        most_bytes: int = 4 << 20,
        seconds: float = 20.0,
    ) -> None:
        self._app, self._most_bytes, self._seconds = app, most_bytes, seconds
        # Digests take the same time to compare, however much of a key was guessed.
        self._keys = {_digest(key) for key in keys}
        self._rates = Rates(per_minute) if per_minute else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        refused: list[APIError] = []
        has_begun = is_over = False

        async def sending(message: Message) -> None:
            nonlocal has_begun, is_over
            if refused and not has_begun:  # the application made something else of it
                is_over = has_begun = True
                await refused[0].response()(scope, receive, send)
            has_begun = True
            if not is_over:
                await send(message)

        try:
            self._check(scope)
        except APIError as error:
            await error.response()(scope, receive, send)
            return
        await self._app(scope, self._limited(receive, refused), sending)

    def _check(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        caller = (scope.get("client") or ("",))[0]
        if self._keys:
            kind, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
            caller = _digest(key.strip())
            if kind.lower() != "bearer" or caller not in self._keys:
                raise APIError(
                    "a valid API key is needed: send Authorization: Bearer KEY",
                    status=401,
                    code="invalid_api_key",
                )
        if self._rates and (wait := self._rates.wait(caller)):
            raise APIError(
                f"too many requests: try again in {wait:.1f} s",
                status=429,
                code="rate_limit_exceeded",
                retry_after=wait,
            )
        size = headers.get(b"content-length", b"0")
        if not size.isdigit() or int(size) > self._most_bytes:
            raise self._too_large()

    def _limited(self, receive: Receive, refused: list[APIError]) -> Receive:
        """As `receive`; an error is raised, and put into `refused`, since FastAPI hides it."""
        read, is_whole, begun = 0, False, time.monotonic()

        async def receiving() -> Message:
            nonlocal read, is_whole
            if is_whole:
                return await receive()
            left = begun + self._seconds + read / LEAST_RATE - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, left))
            except TimeoutError:
                refused.append(self._too_slow())
                raise refused[0] from None
            read += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if read > self._most_bytes:
                refused.append(self._too_large())
                raise refused[0]
            return message

        return receiving

    def _too_slow(self) -> APIError:
        return APIError(
            f"the request took more than {self._seconds:g} s and a second for {LEAST_RATE} bytes: "
            "send it without pause",
            status=408,
            code="timeout",
        )

    def _too_large(self) -> APIError:
        return APIError(
            f"the request has more than {self._most_bytes} bytes: send less",
            status=413,
            code="request_too_large",
        )


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
