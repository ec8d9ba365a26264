"""Connections of a server: the head of a request must come in time, and be no longer than it needs
to be.

uvicorn waits for a head as long as the connection lasts, and keeps what came of it. Here the head
has `SECONDS` from its first byte (a new connection: from its beginning) and `MOST_BYTES`; what goes
beyond, and what is no HTTP, is told in the server's own form. Each server limits bodies itself.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

SECONDS = 20.0
"""For a head, as Apache's mod_reqtimeout has it by default."""
MOST_BYTES = 64 << 10
"""Of a head: llhttp's programs stop at 16 to 80 KiB (Node.js 16)."""
LEAST_RATE = 500
"""Bytes of a body that give its sender a second more, as in Apache's mod_reqtimeout by default."""


class LimitedConnection(HttpToolsProtocol):
    """uvicorn's connection with limits for the head; a class of it that says how errors are told
    is for `uvicorn.Config(http=...)`."""

    seconds = SECONDS
    most_bytes = MOST_BYTES
    _waiting: asyncio.TimerHandle | None = None
    _read = 0  # bytes of a head that is not whole yet, or of a body in the time it has
    _is_between = False  # the last byte ended a request
    _is_in_head = True

    @staticmethod
    @abstractmethod
    def told(status: int, code: str, message: str) -> Response:
        """An error in the form of this server. `code` is for programs."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._is_between = False
        super().data_received(data)
        if self._is_between or self.transport.is_closing():
            return
        self._read += len(data)
        if not self._is_in_head:
            return
        if self._read > self.most_bytes:
            self._refuse(
                431,
                "request_too_large",
                f"the head of the request has more than {self.most_bytes} bytes: send less",
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
        self._stop_waiting()
        self._read, self._is_in_head, self._is_between = 0, True, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """What is left of a body that was refused must not come by drops. Called by uvicorn."""
        super().on_response_complete()
        if not self._is_in_head and self._waiting is None:
            self._read = 0
            self._wait()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP. Called by uvicorn."""
        self._refuse(400, "invalid_http", f"{msg.rstrip('.')}: send HTTP/1.1")

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
        elif not self._is_in_head and self._read >= self.seconds * LEAST_RATE:
            self._read = 0
            self._wait()
        elif not self._is_in_head or not self._read:
            self.transport.close()  # the answer was given long ago, or nothing was asked
        else:
            self._refuse(
                408,
                "timeout",
                f"the head of the request took more than {self.seconds:g} s: send it at once",
            )

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._stop_waiting()
        response = self.told(status, code, message)
        lines = [STATUS_LINE[status]]
        for name, value in [*response.raw_headers, (b"connection", b"close")]:
            lines += [name, b": ", value, b"\r\n"]
        self.transport.write(b"".join([*lines, b"\r\n", bytes(response.body)]))
        self.transport.close()
