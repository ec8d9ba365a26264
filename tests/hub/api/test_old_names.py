"""Old names of repositories lead to the new ones, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.responses import Response

from llmos.hub.accounts.rights import Caller, Right, account_row
from llmos.hub.api.app import HubApp
from llmos.hub.api.asking import Ask, answer
from llmos.hub.api.routing import Route
from llmos.hub.database.tables import repos
from llmos.hub.repos import making


def _echo(ask: Ask) -> Response:
    return answer({"values": dict(ask.match.values), "body": ask.json()})


ROUTES = [
    Route("GET", "/{prefix}/{repo}/see/{rev}/{path*}", Right.CONTENT, _echo),
    Route("GET", "/{prefix}/{repo}.git/see", Right.CONTENT, _echo),
]
Asks = Callable[..., Any]


@pytest.fixture
def app(world: Any) -> HubApp:
    return HubApp(world.hub, ROUTES)


def _repo(world: Any, user: str, name: str, kind: str = "model") -> Any:
    with world.hub.database.read() as connection:
        row = account_row(connection, user)
        caller = Caller(id=row.id, name=user, admin=row.admin, scope="write")
    return caller, making.make_repo(world.hub, caller, kind, name)


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
