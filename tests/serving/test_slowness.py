"""What is slow: clients that send by drops, texts that take too long, many at once."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from llmos.models.engines.engine import Piece, Request
from llmos.serving import limits, reading
from llmos.serving.app import Settings, create_app
from llmos.serving.connections import Connection
from llmos.serving.errors import APIError


class Endless:
    """An engine without a scheduler, which writes until it is told to stop."""

    name, kind, context_length, labels = "endless", "decoder", 64, ()

    def __init__(self) -> None:
        self.pause = threading.Event()
        self.ended = threading.Semaphore(0)

    def stream(self, request: Request) -> Iterator[Piece]:
        try:
            while True:
                self.pause.wait(0.005)
                yield Piece("x")
        finally:
            self.ended.release()


def test_a_body_by_drops_is_refused_in_openai_s_form() -> None:
    async def drops() -> tuple[int, bytes]:
        app = create_app({"endless": Endless()}, Settings(body_seconds=0.05))  # type: ignore[dict-item]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            if not sent and not begun:
                begun.append(True)
                return {"type": "http.request", "body": b"{", "more_body": True}
            await asyncio.sleep(30)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        begun: list[bool] = []
        headers = [(b"content-type", b"application/json")]
        scope = {
            "type": "http", "method": "POST", "path": "/v1/completions", "headers": headers,
            "query_string": b"", "raw_path": b"/v1/completions", "scheme": "http",
            "server": ("x", 1), "client": ("y", 2), "http_version": "1.1", "root_path": "",
        }  # fmt: skip
        await app(scope, receive, send)
        return sent[0]["status"], sent[1]["body"]

    status, body = asyncio.run(drops())
    assert status == 408
    assert json.loads(body)["error"]["code"] == "timeout"


@pytest.mark.parametrize("stream", [True, False])
def test_a_text_that_takes_too_long_is_ended(stream: bool) -> None:
    engine = Endless()
    app = create_app({"endless": engine}, Settings(seconds=0.1))  # type: ignore[dict-item]
    body = {"model": "endless", "prompt": "x", "max_tokens": 9, "stream": stream}
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.post("/v1/completions", json=body)
    assert "took too long" in answer.text
    assert answer.status_code == (200 if stream else 504)
    assert engine.ended.acquire(timeout=10)  # nobody goes on writing


def test_more_texts_than_threads_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_room", threading.BoundedSemaphore(1))
    engine = Endless()
    app = create_app({"endless": engine}, Settings(seconds=0.2))  # type: ignore[dict-item]
    body = {"model": "endless", "prompt": "x", "max_tokens": 9, "n": 2}
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.post("/v1/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert engine.ended.acquire(timeout=10)  # the one that had begun is ended, too


def test_a_body_by_drops_has_a_second_more_for_many_bytes_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A byte within every pause is not enough; many bytes are."""
    now = [0.0]
    monkeypatch.setattr(limits.time, "monotonic", lambda: now[0])

    async def asked(size: int) -> int:
        seen: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            while (await receive())["more_body"]:
                seen.append(None)

        async def receive() -> dict[str, Any]:
            now[0] += 0.9
            await asyncio.sleep(0)
            return {"type": "http.request", "body": b"x" * size, "more_body": len(seen) < 9}

        async def send(message: Any) -> None: ...

        scope = {"type": "http", "path": "/v1/models", "headers": [], "client": ("x", 1)}
        with suppress(APIError):
            await limits.Limits(app, seconds=1.0)(scope, receive, send)
        return len(seen)

    assert asyncio.run(asked(1)) == 2  # 1.002 s were given, 1.8 s are gone
    assert asyncio.run(asked(limits.LEAST_RATE)) == 9


@pytest.fixture
def port() -> Iterator[int]:
    """A server whose heads have half a second and 4096 bytes."""

    class Hasty(Connection):
        seconds, most_bytes = 0.5, 4096

    config = uvicorn.Config(
        create_app({"endless": Endless()}),
        port=0,
        log_level="error",
        http=Hasty,
        ws="none",  # type: ignore[dict-item]
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    for _ in range(1000):
        if running.started:
            break
        time.sleep(0.01)
    yield running.servers[0].sockets[0].getsockname()[1]
    running.should_exit = True
    thread.join()


def all_of(connection: socket.socket) -> bytes:
    found = b""
    while more := connection.recv(1 << 16):
        found += more
    return found


HEAD = b"GET /health HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize("first", [b"GET /he", HEAD, HEAD + b"A: ", b"\r\n", HEAD + b"\r\n" + HEAD])
def test_a_head_by_drops_is_refused(port: int, first: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(first)
        found = all_of(connection)
    answers = found.split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200"] * first.count(b"\r\n\r\n") + [b"408"]
    error = json.loads(answers[-1].partition(b"\r\n\r\n")[2])["error"]
    assert (error["code"], error["type"]) == ("timeout", "invalid_request_error")
    assert b"connection: close" in answers[-1]


def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        assert all_of(connection) == b""


@pytest.mark.parametrize("pieces", [[b"A: ", *[b"x" * 1000] * 9], [b"A: x\r\n" * 200] * 9])
def test_a_head_without_end_is_refused(port: int, pieces: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(HEAD)
        with suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.01)
        found = connection.recv(1000)
    assert found.startswith(b"HTTP/1.1 431 ") and b"4096 bytes" in found


def test_what_is_no_http_is_told_so(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        found = all_of(connection)
    assert found.startswith(b"HTTP/1.1 400 ") and b'"invalid_http"' in found


def test_a_connection_is_used_again_after_a_pause(port: int) -> None:
    """Between requests a head has no limit: that is the keep-alive's."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for _ in range(2):
            connection.sendall(HEAD + b"\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            time.sleep(0.8)
