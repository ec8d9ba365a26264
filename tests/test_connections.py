"""Heads that are slow, endless or no HTTP, told by each server in its own form."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llmos.connections import LimitedConnection
from llmos.hub.api.connections import Connection as OfHub
from llmos.serving.connections import Connection as OfModels

SECONDS, BYTES = 0.5, 4096


async def health(request: Request) -> Response:
    return Response("here")


APPLICATION = Starlette(routes=[Route("/health", health, methods=["GET", "POST"])])


@pytest.fixture(params=[OfHub, OfModels], ids=["hub", "models"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A server whose heads have half a second and 4096 bytes."""
    of_server: type[LimitedConnection] = request.param

    class Hasty(of_server):  # type: ignore[misc,valid-type]
        seconds, most_bytes = SECONDS, BYTES

    config = uvicorn.Config(APPLICATION, port=0, log_level="error", http=Hasty, ws="none")
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


def told(answer: bytes) -> str:
    """The line that tells an error, in either form."""
    error: Any = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    return str(error if isinstance(error, str) else error["message"])


HEAD = b"GET /health HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize("first", [b"GET /he", HEAD, HEAD + b"A: ", b"\r\n", HEAD + b"\r\n" + HEAD])
def test_a_head_by_drops_is_refused(port: int, first: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(first)
        found = all_of(connection)
    answers = found.split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200"] * first.count(b"\r\n\r\n") + [b"408"]
    assert "0.5 s" in told(answers[-1])
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
    assert found.startswith(b"HTTP/1.1 400 ") and "HTTP/1.1" in told(found)


def test_a_connection_is_used_again_after_a_pause(port: int) -> None:
    """Between requests a head has no limit: that is the keep-alive's."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for _ in range(2):
            connection.sendall(HEAD + b"\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            time.sleep(SECONDS * 1.6)


def test_a_body_that_nobody_reads_does_not_go_on_for_ever(port: int) -> None:
    """The answer is given before the body's end; a sender by drops would hold the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                connection.sendall(b"x")
                time.sleep(0.05)


def test_the_rest_of_a_body_may_follow_its_answer(port: int) -> None:
    """As of a large upload that is refused in the midst of it: the sender must hear why."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for _ in range(2):
            connection.sendall(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            for _ in range(10):
                connection.sendall(b"x" * 1000)
                time.sleep(SECONDS / 4)


def test_each_server_tells_it_in_its_own_form() -> None:
    hub = OfHub.told(408, "timeout", "too slow")
    assert json.loads(bytes(hub.body)) == {"error": "Too slow"}
    assert hub.headers["x-error-message"] == "Too slow" and "x-error-code" not in hub.headers
    models = json.loads(bytes(OfModels.told(408, "timeout", "too slow").body))["error"]
    assert (models["code"], models["type"]) == ("timeout", "invalid_request_error")
