"""Bodies as an attacker sends them: no JSON, odd lengths, too much, too slowly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.responses import Response

from llmos.hub.api import bodies
from llmos.hub.api.app import HubApp
from llmos.hub.api.asking import Ask, answer, lines
from llmos.hub.api.routing import Need, Route


def _echo(ask: Ask) -> Response:
    return answer({"body": ask.json()})


def _lines(ask: Ask) -> Response:
    return answer(lines(ask.body))


async def _taken(ask: Ask) -> Response:
    size = 0
    async for piece in ask.request.stream():
        size += len(piece)
    return answer({"size": size})


ROUTES = [
    Route("POST", "/echo", Need.PUBLIC, _echo),
    Route("POST", "/writing", Need.WRITING, _echo),
    Route("POST", "/lines", Need.PUBLIC, _lines),
    Route("PUT", "/taken", Need.PUBLIC, _taken),
]
Asks = Callable[..., Any]


@pytest.fixture
def app(world: Any) -> HubApp:
    return HubApp(world.hub, ROUTES)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1',
        b"[1]",
        b'"x"',
        b"null",
        b'{"a": "\\ud800"}',
        b'{"a": "\\u0000"}',
        b'{"a\\u0000": 1}',
        b'{"a": [{"b": "x\\\\\\u0000"}]}',
        b'{"a": "\xff"}',
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b"[" * 100_000,
    ],
)
def test_what_is_no_plain_json_is_400(app: HubApp, ask: Asks, body: bytes) -> None:
    assert ask(app, "POST", "/echo", body=body).status == 400
    if body not in (b"[1]", b'"x"', b"null"):
        assert ask(app, "POST", "/lines", body=b'{"key": 1, "value": ' + body + b"}").status == 400


def test_a_backslash_before_u0000_is_no_nul(app: HubApp, ask: Asks) -> None:
    got = ask(app, "POST", "/echo", body=b'{"a": "\\\\u0000"}')
    assert json.loads(got.body)["body"] == {"a": "\\u0000"}


def test_of_keys_said_twice_the_last_counts(app: HubApp, ask: Asks) -> None:
    got = ask(app, "POST", "/echo", body=b'{"a": 1, "a": 2}')
    assert json.loads(got.body)["body"] == {"a": 2}


@pytest.mark.parametrize("length", ["abc", "-1", "1e3", "\u0663", "9" * 30, ""])
def test_a_content_length_that_is_no_number_is_400(app: HubApp, ask: Asks, length: str) -> None:
    given = length.encode().decode("latin-1")
    assert ask(app, "POST", "/echo", [("Content-Length", given)], b"{}").status == 400


def test_bodies_over_the_limit_are_413_declared_or_not(new_world: Any, ask: Asks, tmp_path) -> None:
    world = new_world(tmp_path, request_limit=3 << 20)
    token = [("Authorization", f"Bearer {world.user('alice')}")]
    app = HubApp(world.hub, ROUTES)
    large = b'{"a": "' + b"x" * (4 << 20) + b'"}'
    pieces = [large[at : at + 65536] for at in range(0, len(large), 65536)]
    assert ask(app, "POST", "/writing", token, large).status == 413
    assert ask(app, "POST", "/writing", token, pieces=pieces).status == 413
    fits = b'{"a": "' + b"x" * (2 << 20) + b'"}'
    assert ask(app, "POST", "/writing", token, pieces=[fits[:99], fits[99:]]).status == 200
    assert app._memory.held == 0
    world.hub.close()


def test_a_large_body_of_nobody_is_not_read(app: HubApp, ask: Asks) -> None:
    """401 comes first: nobody can make the hub hold megabytes by asking for what they may not."""
    declared = [("Content-Length", str(100 << 20))]
    assert ask(app, "POST", "/writing", declared, b"x").status == 401


def test_bodies_together_have_bounded_memory(app: HubApp, ask: Asks, world: Any) -> None:
    app._memory.most = 3 << 20
    app._memory.take(2 << 20)  # another request holds that much
    token = [("Authorization", f"Bearer {world.tokens['alice']}")]
    got = ask(app, "POST", "/writing", token, b'{"a": "' + b"x" * (2 << 20) + b'"}')
    assert (got.status, got.header("retry-after")) == (503, "5")
    assert app._memory.held == 2 << 20


def _trickle(app: HubApp, messages: list[Any], path: str) -> int:
    """The status of a request whose body comes in these messages; None: nothing comes."""
    sent: list[Any] = []

    async def receive() -> Any:
        message = messages.pop(0) if messages else None
        if message is None:
            await asyncio.sleep(3600)
        return message

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "PUT", "path": path, "raw_path": path.encode()}
    scope |= {"query_string": b"", "headers": headers, "client": ("192.0.2.1", 1)}
    asyncio.run(app({**scope, "scheme": "http", "server": ("x", 80)}, receive, send))
    return int(sent[0]["status"])


def test_a_sender_that_stops_is_let_go(app: HubApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "IDLE", 0.05)
    begun = {"type": "http.request", "body": b"x", "more_body": True}
    assert _trickle(app, [begun, None], "/taken") == 408


def test_a_sender_that_drips_is_let_go(app: HubApp, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(0, 10_000, 59))
    monkeypatch.setattr(bodies.time, "monotonic", lambda: next(times))
    drop = {"type": "http.request", "body": b"x", "more_body": True}
    end = {"type": "http.request", "body": b"", "more_body": False}
    assert _trickle(app, [*[drop] * 10, end], "/taken") == 408


def test_a_sender_in_time_is_heard(app: HubApp) -> None:
    drop = {"type": "http.request", "body": b"x", "more_body": True}
    end = {"type": "http.request", "body": b"", "more_body": False}
    assert _trickle(app, [*[drop] * 10, end], "/taken") == 200
