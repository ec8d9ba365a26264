"""The dispatcher, asked as an attacker would: odd paths, headers, bodies, old names."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.responses import Response, StreamingResponse

from llmos.hub.accounts.rights import Caller, Right, account_row
from llmos.hub.api import bodies
from llmos.hub.api.app import HubApp
from llmos.hub.api.asking import Ask, answer, lines
from llmos.hub.api.routing import Need, Route
from llmos.hub.database.tables import repos
from llmos.hub.errors import HubError, bad_request
from llmos.hub.repos import making


def _echo(ask: Ask) -> Response:
    return answer({"values": dict(ask.match.values), "body": ask.json()})


def _lines(ask: Ask) -> Response:
    return answer(lines(ask.body))


def _told(ask: Ask) -> Response:
    raise bad_request(f"no {ask.value('x')}")


def _stream(ask: Ask) -> Response:
    def forever() -> Iterator[bytes]:
        raise AssertionError("a HEAD must not read the body")
        yield b""

    return StreamingResponse(forever())


def _broken(ask: Ask) -> Response:
    raise RuntimeError("secret detail")


async def _taken(ask: Ask) -> Response:
    size = 0
    async for piece in ask.request.stream():
        size += len(piece)
    return answer({"size": size})


ROUTES = [
    Route("GET", "/echo/{x}", Need.PUBLIC, _echo),
    Route("GET", "/rest/{path*}", Need.PUBLIC, _echo),
    Route("POST", "/echo", Need.PUBLIC, _echo),
    Route("POST", "/writing", Need.WRITING, _echo),
    Route("POST", "/lines", Need.PUBLIC, _lines),
    Route("PUT", "/taken", Need.PUBLIC, _taken),
    Route("GET", "/told/{x}", Need.PUBLIC, _told),
    Route("GET", "/stream", Need.PUBLIC, _stream),
    Route("GET", "/broken", Need.PUBLIC, _broken),
    Route("GET", "/{prefix}/{repo}/see/{rev}/{path*}", Right.CONTENT, _echo),
    Route("GET", "/{prefix}/{repo}.git/see", Right.CONTENT, _echo),
    Route("POST", "/api/{kind}/{repo}/do", Right.WRITE, _echo),
]


@pytest.fixture
def app(world: Any) -> HubApp:
    return HubApp(world.hub, ROUTES)


def _repo(world: Any, user: str, name: str, kind: str = "model") -> Any:
    with world.hub.database.read() as connection:
        row = account_row(connection, user)
        caller = Caller(id=row.id, name=user, admin=row.admin, scope="write")
    return caller, making.make_repo(world.hub, caller, kind, name)


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


# --- bodies
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


# --- old names
def test_an_old_name_leads_to_the_new_one(app: HubApp, ask: Asks, world: Any) -> None:
    for kind, prefix in (("model", ""), ("dataset", "/datasets"), ("run", "/runs")):
        caller, repo = _repo(world, "alice", "alice/data", kind)
        making.move_repo(world.hub, caller, repo, "alice/new")
        got = ask(app, "GET", f"{prefix}/alice/data/see/refs%2Fpr%2F1/a%20b", query=b"x=%2F")
        assert got.status == 307
        assert got.header("location") == f"{prefix}/alice/new/see/refs%2Fpr%2F1/a%20b?x=%2F"
        assert ask(app, "GET", f"{prefix}/alice/data.git/see").header("location") == (
            f"{prefix}/alice/new.git/see"
        )


def test_a_short_name_within_another_word_of_the_path(app: HubApp, ask: Asks, world: Any) -> None:
    """`data` is also how the path begins: /datasets/data."""
    caller, repo = _repo(world, "root", "data", "dataset")
    making.move_repo(world.hub, caller, repo, "root/set")
    got = ask(app, "GET", "/datasets/data/see/main/data")
    assert got.header("location") == "/datasets/root/set/see/main/data"


def test_a_redirect_stays_on_this_host(app: HubApp, ask: Asks, world: Any) -> None:
    """An account called evil.example and two slashes: the browser must not go there."""
    world.user("evil.example")
    caller, repo = _repo(world, "evil.example", "evil.example/a")
    making.move_repo(world.hub, caller, repo, "evil.example/b")
    for slashes in ("//", "///", "/"):
        got = ask(app, "GET", f"{slashes}evil.example/a/see/main/x")
        assert got.header("location") == "/evil.example/b/see/main/x"
    assert ask(app, "GET", "/\\evil.example/a/see/main/x").status in (401, 404)


def test_an_old_name_of_a_private_repository_leads_nowhere(
    app: HubApp, ask: Asks, world: Any
) -> None:
    caller, repo = _repo(world, "alice", "alice/data")
    moved = making.move_repo(world.hub, caller, repo, "alice/secret")
    with world.hub.database.write() as connection:
        connection.execute(repos.update().where(repos.c.id == moved.id).values(private=True))
    old, none = (ask(app, "GET", f"/alice/{name}/see/main/x") for name in ("data", "none"))
    assert old.comparable() == none.comparable()


def test_letters_that_fold_to_ascii_are_the_same_repository_or_none(
    app: HubApp, ask: Asks, world: Any
) -> None:
    """U+212A, the Kelvin sign, is k in lower case: at most it leads to the one that is there."""
    _repo(world, "alice", "alice/kit")
    got = ask(app, "GET", "/alice/%E2%84%AAit/see/main/x")
    assert got.status in (401, 404) or got.header("location") == "/alice/kit/see/main/x"


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
