"""The dispatcher, asked as an attacker would: odd paths, headers, methods."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.responses import Response, StreamingResponse

from llmos.hub.accounts.rights import Right
from llmos.hub.api.app import HubApp
from llmos.hub.api.asking import Ask, answer
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import HubError, bad_request


def _echo(ask: Ask) -> Response:
    return answer({"values": dict(ask.match.values), "body": ask.json()})


def _told(ask: Ask) -> Response:
    raise bad_request(f"no {ask.value('x')}")


def _stream(ask: Ask) -> Response:
    def forever() -> Iterator[bytes]:
        raise AssertionError("a HEAD must not read the body")
        yield b""

    return StreamingResponse(forever())


def _broken(ask: Ask) -> Response:
    raise RuntimeError("secret detail")


ROUTES = [
    Route("GET", "/echo/{x}", Need.PUBLIC, _echo),
    Route("GET", "/rest/{path*}", Need.PUBLIC, _echo),
    Route("POST", "/echo", Need.PUBLIC, _echo),
    Route("GET", "/told/{x}", Need.PUBLIC, _told),
    Route("GET", "/stream", Need.PUBLIC, _stream),
    Route("GET", "/broken", Need.PUBLIC, _broken),
    Route("GET", "/{prefix}/{repo}/see/{rev}/{path*}", Right.CONTENT, _echo),
    Route("GET", "/{prefix}/{repo}.git/see", Right.CONTENT, _echo),
]


@pytest.fixture
def app(world: Any) -> HubApp:
    return HubApp(world.hub, ROUTES)


Asks = Callable[..., Any]


# --- paths
@pytest.mark.parametrize("path", [b"/echo/a%00b", b"/echo/a\0b", b"/rest/x/%00"])
def test_nul_is_refused_before_any_database_sees_it(app: HubApp, ask: Asks, path: bytes) -> None:
    assert ask(app, "GET", path).status == 400
    assert ask(app, "GET", "/echo/a", query=b"q=%00").status == 400


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (b"/echo/%2e%2e", ".."),
        (b"/echo/%252e%252e", "%2e%2e"),  # decoded once, not twice
        (b"/echo/a%2Fb", "a/b"),
        (b"/echo/%E4%B8%AD", "\u4e2d"),
        (b"/echo/%ff%fe", "\ufffd\ufffd"),
        (b"/echo/%0d%0aSet-Cookie:x=1", "\r\nSet-Cookie:x=1"),
        (b"//echo///x", "x"),
    ],
)
def test_a_path_is_decoded_once_after_it_is_split(
    app: HubApp, ask: Asks, path: bytes, value: str
) -> None:
    assert json.loads(ask(app, "GET", path).body)["values"] == {"x": value}


def test_bytes_beyond_ascii_in_a_path_are_no_crash(app: HubApp, ask: Asks) -> None:
    for path in (b"/echo/\xff\xfe", b"/\xe4\xb8\xad/x/see/main/a", b"/echo/\\..\\x"):
        assert ask(app, "GET", path).status in (200, 401, 404)


def test_over_long_addresses_and_headers(app: HubApp, ask: Asks) -> None:
    assert ask(app, "GET", "/echo/" + "a" * 9000).status == 414
    assert ask(app, "GET", "/echo/a", query=b"q=" + b"a" * 20_000).status == 414
    assert ask(app, "GET", "/echo/a", [("X-Long", "a" * 70_000)]).status == 431


# --- headers
@pytest.mark.parametrize("text", ["%0d%0aSet-Cookie:%20x=1", "%0d%20", "%7f%1b%5b2J", "%C2%85x"])
def test_nothing_asked_can_break_out_of_a_header(app: HubApp, ask: Asks, text: str) -> None:
    told = ask(app, "GET", f"/told/{text}")
    line = told.header("x-error-message")
    assert told.status == 400
    assert all(32 <= ord(letter) < 127 for letter in line)
    assert told.header("set-cookie") is None


def test_an_error_line_is_short_whatever_was_asked(app: HubApp, ask: Asks) -> None:
    told = ask(app, "GET", "/told/" + "%E4%B8%AD" * 800)
    assert len(told.header("x-error-message")) <= 500


def test_every_answer_has_its_number_and_is_not_for_shared_caches(app: HubApp, ask: Asks) -> None:
    for path in ("/echo/a", "/nothing", "/told/x", "/broken"):
        got = ask(app, "GET", path)
        names = [name for name, _ in got.headers]
        assert len(set(names)) == len(names)
        assert got.header("x-request-id")
        assert got.header("cache-control") == "private, no-cache"
        assert got.header("x-content-type-options") == "nosniff"


def test_a_failure_tells_no_detail(app: HubApp, ask: Asks) -> None:
    got = ask(app, "GET", "/broken")
    assert got.status == 500
    assert b"secret" not in got.body + str(got.headers).encode()
    assert got.header("x-request-id").encode() in got.body


# --- methods
def test_a_method_cannot_be_overridden(app: HubApp, ask: Asks) -> None:
    over = [("X-HTTP-Method-Override", "POST"), ("X-Method-Override", "POST")]
    assert ask(app, "GET", "/echo", over).status == 405
    assert ask(app, "GET", "/echo", query=b"_method=POST").status == 405


def test_another_method_tells_which_there_are(app: HubApp, ask: Asks) -> None:
    got = ask(app, "TRACE", "/echo/a")
    assert (got.status, got.header("allow")) == (405, "GET, HEAD")


def test_head_has_the_headers_and_no_body(app: HubApp, ask: Asks) -> None:
    got, head = ask(app, "GET", "/echo/a"), ask(app, "HEAD", "/echo/a")
    assert got.header("content-length") == head.header("content-length") == str(len(got.body))
    assert head.body == b""
    assert ask(app, "HEAD", "/stream").status == 200  # and reads nothing


# --- routes and errors
def test_a_route_may_not_be_given_twice() -> None:
    with pytest.raises(ValueError, match="is also"):
        HubApp.__init__(object.__new__(HubApp), _NoHub(), [*ROUTES, ROUTES[0]])  # type: ignore[arg-type]


class _NoHub:
    """Enough of a hub for an application that is never asked."""

    class settings:
        request_limit = threads = 1


def test_hub_errors_of_the_answering_function_are_answers(world: Any, ask: Asks) -> None:
    def full(ask: Ask) -> Response:
        raise HubError(507, "full", headers={"Retry-After": "9"}, extra={"more": 1})

    app = HubApp(world.hub, [Route("GET", "/full", Need.PUBLIC, full)])
    got = ask(app, "GET", "/full")
    assert (got.status, got.header("retry-after")) == (507, "9")
    assert json.loads(got.body) == {"error": "full", "more": 1}
