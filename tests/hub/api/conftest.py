"""Requests to an ASGI application without a client in between, fast and with any bytes at all; and
a hub with every kind of caller and repository."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update
from tests.hub.api.planning import key_of, plan, register

from llmos.hub.accounts import people, standing
from llmos.hub.accounts.rights import Caller, account_row, roles_of
from llmos.hub.accounts.sessions import start_session
from llmos.hub.api.app import HubApp
from llmos.hub.api.authentication import COOKIE
from llmos.hub.api.routing import KINDS, Route
from llmos.hub.database.connection import now
from llmos.hub.database.tables import repos, tokens
from llmos.hub.repos import making

if TYPE_CHECKING:
    from tests.conftest import Joint
    from tests.hub.conftest import World

_LOOP = asyncio.new_event_loop()  # one for all: making one takes longer than a request
STATES = ("public", "private", "gated", "federated", "disabled")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        found = (value for key, value in self.headers if key.decode().lower() == name.lower())
        return next((value.decode("latin-1") for value in found), None)

    def comparable(self) -> tuple[Any, ...]:
        """All of it but the request's number."""
        kept = sorted(pair for pair in self.headers if pair[0] != b"x-request-id")
        number = (self.header("x-request-id") or "-").encode()
        return self.status, kept, self.body.replace(number, b"")


def _ask(
    app: Any,
    method: str,
    path: str | bytes,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    pieces: Iterable[bytes] | None = None,
    query: bytes = b"",
    client: str = "192.0.2.7",
) -> Answer:
    """One request; `pieces` is a body in chunks of no declared length."""
    raw = path if isinstance(path, bytes) else path.encode()
    given = [
        (b"host", b"hub.test"),
        *((a.lower().encode(), b.encode("latin-1")) for a, b in headers),
    ]
    chunks = list(pieces) if pieces is not None else [body]
    if pieces is not None:
        given.append((b"transfer-encoding", b"chunked"))
    elif body and not any(name == b"content-length" for name, _ in given):
        given.append((b"content-length", str(len(body)).encode()))
    messages = [
        {"type": "http.request", "body": chunk, "more_body": at < len(chunks) - 1}
        for at, chunk in enumerate(chunks or [b""])
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": raw.decode("latin-1"),
        "raw_path": raw,
        "query_string": query,
        "headers": given,
        "client": (client, 5000),
        "scheme": "http",
        "server": ("hub.test", 80),
    }
    _LOOP.run_until_complete(app(scope, receive, send))
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(sent[0]["status"], sent[0]["headers"], content)


@pytest.fixture(scope="session")
def ask() -> Callable[..., Answer]:
    """Ask an application: ask(app, method, path, headers, body)."""
    return _ask


@dataclass
class Stage:
    """A hub with the repositories and callers of the table."""

    world: Any
    headers: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    states: tuple[str, ...] = STATES

    def app(self, routes: list[Route], error_page: Any = None) -> HubApp:
        return HubApp(self.world.hub, routes, error_page)


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, new_world: Callable[..., Any]
) -> Iterator[Stage]:
    world = new_world(tmp_path_factory.mktemp("hub"), requests_per_minute=0)
    for name in ("alice", "bob", "rita", "cora", "cyril", "mona", "dan"):
        world.user(name)
    world.user("root", admin=True)
    roles = {"rita": "reader", "cora": "contributor", "cyril": "contributor"}
    world.org("acme", alice="admin", mona="maintainer", dan="maintainer", **roles)
    _make_repos(world)
    stage = Stage(world)
    for caller, user in {
        "other": "bob",
        "reader": "rita",
        "contributor": "cora",
        "maker": "cyril",
        "maintainer": "mona",
        "admin": "alice",
        "hub admin": "root",
        "disabled user": "dan",
    }.items():
        stage.headers[caller] = _bearer(world.tokens[user])
    _make_credentials(stage)
    yield stage
    world.hub.close()


def _make_repos(world: Any) -> None:
    with world.hub.database.read() as connection:
        row = account_row(connection, "cyril")
        assert row is not None
        cyril = Caller(id=row.id, name="cyril", scope="write", roles=roles_of(connection, row.id))
    for kind in KINDS.values():
        for state in STATES:
            making.make_repo(world.hub, cyril, kind, f"acme/{state}")
    with world.hub.database.write() as connection:
        for state, values in {
            "private": {"private": True},
            "gated": {"gated": "manual"},
            "federated": {"sharing": "federated"},
            "disabled": {"disabled": True},
        }.items():
            named = repos.c.name_key == f"acme/{state}"
            connection.execute(update(repos).where(named).values(**values))


def _make_credentials(stage: Stage) -> None:
    hub = stage.world.hub
    with hub.database.write() as connection:
        rows = {name: account_row(connection, name) for name in ("alice", "root", "dan")}
        alice, root, dan = rows["alice"], rows["root"], rows["dan"]
        assert alice and root and dan
        these = [f"acme/{state}" for state in STATES]
        for caller, user, options in (
            ("read token", alice, {"scope": "read"}),
            ("hub admin, read token", root, {"scope": "read"}),
            ("token for another", alice, {"scope": "fineGrained", "repos": ["acme/another"]}),
            ("token for this", alice, {"scope": "fineGrained", "repos": these}),
            ("expired token", alice, {"expires_at": now() - 1}),
        ):
            secret = people.make_token(connection, "test", user, label=caller, **options)
            stage.headers[caller] = _bearer(secret)
        sessions = {
            name: start_session(connection, hub, row.id, row.name)
            for name, row in (("alice", alice), ("dan", dan))
        }
        connection.execute(update(tokens).values(used_at=now()))  # so that no request writes it
        standing.disable(connection, "test", dan)
    cookie = [("Cookie", f"{COOKIE}={sessions['alice'].code}")]
    stage.headers["session without CSRF"] = cookie
    stage.headers["session"] = [*cookie, ("X-CSRF-Token", sessions["alice"].csrf)]
    stage.headers["disabled user's session"] = [("Cookie", f"{COOKIE}={sessions['dan'].code}")]
    stage.headers["wrong token"] = _bearer("hf_wrong")
    stage.headers["anonymous"] = []


def _bearer(secret: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {secret}")]


@pytest.fixture(scope="session", autouse=True)
def _close_the_loop() -> Iterator[None]:
    yield
    _LOOP.close()


@pytest.fixture
def recipe(joint: Joint) -> str:
    return (joint.folder / "recipe.toml").read_text()


@pytest.fixture
def ledger(joint: Joint) -> bytes:
    return (joint.folder / "ledger.jsonl").read_bytes()


@pytest.fixture
def planned(world: World, joint: Joint, recipe: str) -> World:
    """The run acme/tiny: anna is alice's member, ben bob's, who is a reader of acme."""
    register(world, "alice", key_of(joint, "anna").public)
    register(world, "bob", key_of(joint, "ben").public)
    made = plan(world, recipe, members={"anna": "alice", "ben": "bob"}, model="acme/tiny")
    assert made.status_code == 201, made.text
    return world
