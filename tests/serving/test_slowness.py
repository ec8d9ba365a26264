"""What is slow: clients that send by drops, texts that take too long, many at once."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from fastapi.testclient import TestClient

from llmos.connections import LEAST_RATE
from llmos.models.engines.engine import Piece, Request
from llmos.serving import limits, reading
from llmos.serving.app import create_app
from llmos.serving.errors import APIError
from llmos.serving.server import Settings


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
    assert asyncio.run(asked(LEAST_RATE)) == 9
