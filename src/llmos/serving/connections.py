"""Connections: the head of a request must come in time, and be no longer than it needs to be.

uvicorn waits for a head as long as the connection lasts, and keeps what came of it. Here the head
has `SECONDS` from its first byte (a new connection: from its beginning) and `MOST_BYTES`; what goes
beyond, and what is no HTTP, is told in OpenAI's form. `limits` has the like for bodies.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from llmos.serving.errors import APIError

SECONDS = 20.0
"""For a head, as Apache's mod_reqtimeout has it by default."""
MOST_BYTES = 64 << 10
"""Of a head: llhttp's programs stop at 16 to 80 KiB (Node.js 16)."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection with limits for the head; for `uvicorn.Config(http=Connection)`."""

    seconds = SECONDS
    most_bytes = MOST_BYTES
    _waiting: asyncio.TimerHandle | None = None
    _read = 0  # bytes of a head that is not whole yet
    _is_between = False  # the last byte ended a request
    _is_in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._is_between = False
        super().data_received(data)
        if not self._is_in_head or self._is_between or self.transport.is_closing():
            return
        self._read += len(data)
        if self._read > self.most_bytes:
            self._refuse(
                APIError(
                    f"the head of the request has more than {self.most_bytes} bytes: send less",
                    status=431,
                    code="request_too_large",
                )
            )
        elif self._waiting is None:
            self._wait()

    def on_message_begin(self) -> None:
        self._is_between = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        self._read, self._is_in_head = 0, False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_head = self._is_between = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP. Called by uvicorn."""
        self._refuse(APIError(f"{msg.rstrip('.')}: send HTTP/1.1", code="invalid_http"))

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(self.seconds, self._late)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _late(self) -> None:
        self._waiting = None
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait()  # the request before this one is answered first
        elif not self._read:
            self.transport.close()  # nothing was asked
        else:
            self._refuse(
                APIError(
                    f"the head of the request took more than {self.seconds:g} s: send it at once",
                    status=408,
                    code="timeout",
                )
            )

    def _refuse(self, error: APIError) -> None:
        self._stop_waiting()
        response = error.response()
        lines = [STATUS_LINE[error.status]]
        for name, value in [*response.raw_headers, (b"connection", b"close")]:
            lines += [name, b": ", value, b"\r\n"]
        self.transport.write(b"".join([*lines, b"\r\n", bytes(response.body)]))
        self.transport.close()
