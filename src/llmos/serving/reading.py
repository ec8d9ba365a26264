"""From the threads of engines to the event loop: the pieces of a text as they come."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from threading import BoundedSemaphore, Thread

from llmos.errors import ModelError
from llmos.models.engines.engine import Engine, Piece, Request
from llmos.models.engines.scheduler import BusyError
from llmos.serving.metrics import Metrics

READ_BEHIND = 4096
"""Pieces that a reader may be behind before its text is given up."""


class Reader:
    """Reads one text from an engine; `close` ends the writing, wherever it is.

    `seconds` is how long the whole text may take.
    """

    def __init__(
        self, engine: Engine, name: str, request: Request, metrics: Metrics, seconds: float
    ) -> None:
        self._name, self._metrics, self._seconds = name, metrics, seconds
        self._loop = asyncio.get_running_loop()
        self._came = asyncio.Event()
        self._pieces: deque[Piece | Exception] = deque()
        self._is_told = False  # that something came: one call of the loop is enough
        self._begun = time.monotonic()
        self._cancel = _begin(engine, request, self._put)

    def close(self) -> None:
        self._cancel()

    def _put(self, piece: Piece | Exception) -> None:
        self._pieces.append(piece)
        if len(self._pieces) > READ_BEHIND:
            self._cancel()
        if not self._is_told:
            self._is_told = True
            try:
                self._loop.call_soon_threadsafe(self._came.set)
            except RuntimeError:  # the loop has ended, and the reader with it
                self._cancel()

    async def pieces(self) -> AsyncIterator[Piece]:
        """To the last one. Raises what the engine raised, and `TimeoutError`."""
        first = True
        async with asyncio.timeout(self._seconds - (time.monotonic() - self._begun)):
            while True:
                await self._came.wait()
                self._came.clear()
                self._is_told = False
                while self._pieces:
                    piece = self._pieces.popleft()
                    if isinstance(piece, Exception):
                        raise piece
                    if first:
                        first = False
                        self._observe(self._metrics.first)
                    if piece.finish:
                        self._observe(self._metrics.whole)
                        self._metrics.prompt_tokens.labels(self._name).inc(piece.prompt_tokens)
                        self._metrics.new_tokens.labels(self._name).inc(piece.new_tokens)
                    yield piece
                    if piece.finish:
                        return

    def _observe(self, histogram: object) -> None:
        histogram.labels(self._name).observe(time.monotonic() - self._begun)  # type: ignore[attr-defined]


def _begin(
    engine: Engine, request: Request, put: Callable[[Piece | Exception], None]
) -> Callable[[], None]:
    """Have a text written; what ends it. An engine that only streams gets a thread for it."""
    submit = getattr(engine, "submit", None)
    if submit is not None:
        cancel: Callable[[], None] = submit(request, put).cancel
        return cancel
    if not _room.acquire(blocking=False):
        raise BusyError(f"{_MOST} texts are under way already: try again later")
    closed = False

    def close() -> None:
        nonlocal closed
        closed = True

    def work() -> None:
        try:
            with _at_once:
                for piece in engine.stream(request):
                    put(piece)
                    if closed or piece.finish:
                        return
            put(ModelError("the engine ended without an end of the text"))
        except Exception as error:  # handed to the reader
            put(error)
        finally:
            _room.release()

    Thread(target=work, daemon=True).start()
    return close


_MOST = 1024
"""Texts of engines without a scheduler of their own that are written or wait, in a thread each."""
_room = BoundedSemaphore(_MOST)
_at_once = BoundedSemaphore(64)
