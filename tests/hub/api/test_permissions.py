"""Every route x every kind of caller x every kind of repository: asked exactly by those who may.

What is expected is written down here a second time, as a table, and not taken from the code. Routes
that decide for themselves (INSIDE) or whose address is signed are in test_inside.py.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select
from starlette.responses import Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api.routing import KINDS, PREFIXES, Need, Route
from llmos.hub.database.tables import metadata
from llmos.web.routes import WHOLE as ROUTES
from llmos.web.routes import error_page

REACHED = 299
STATES = ("public", "private", "gated", "federated", "disabled")
N, R, C, P, W, M, O = (  # noqa: E741
    Right.NONE,
    Right.READ,
    Right.CONTENT,
    Right.PROPOSE,
    Right.WRITE,
    Right.MANAGE,
    Right.OWN,
)
# The most that each caller may do with a repository that cyril made in acme, by its state. None:
# the credentials are no good, everything is 401.
TABLE: dict[str, tuple[Right, ...] | None] = {
    #                     public private gated federated disabled
    "anonymous": (C, N, R, R, N),
    "other": (P, N, R, R, N),
    "reader": (P, P, P, P, R),
    "contributor": (P, P, P, P, R),
    "maker": (W, W, W, W, R),
    "maintainer": (M, M, M, M, R),
    "admin": (O, O, O, O, R),
    "hub admin": (O, O, O, O, O),
    "hub admin, read token": (C, N, R, R, N),
    "read token": (C, C, C, C, R),
    "token for another": (C, C, C, C, R),
    "token for this": (O, O, O, O, R),
    "expired token": None,
    "wrong token": None,
    "disabled user": None,
    "disabled user's session": (C, N, R, R, N),
    "session": (O, O, O, O, R),
    "session without CSRF": (O, O, O, O, R),
}
SIGNED_IN = set(TABLE) - {"anonymous", "disabled user's session"}
WRITING = SIGNED_IN - {"read token", "hub admin, read token", "token for another", "token for this"}
ORG_ADMINS = {"admin", "hub admin", "session", "session without CSRF"}
MEMBERS = ORG_ADMINS | {"reader", "contributor", "maker", "maintainer"}
MEMBERS |= {"read token", "token for another", "token for this"}
NEEDS: dict[str, set[str]] = {
    Need.PUBLIC: set(TABLE),
    Need.INSIDE: set(TABLE),  # as far as the door is concerned; see EXPLAINED
    Need.SIGNED: set(TABLE),
    Need.SIGNED_IN: SIGNED_IN,
    Need.WRITING: WRITING,
    Need.SESSION: {"session", "session without CSRF"},
    Need.ORG_MEMBER: MEMBERS,
    Need.ORG_ADMIN: ORG_ADMINS,
    Need.ADMIN: {"hub admin"},
}
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


def _filled(route: Route, repo: str, kind: str) -> str:
    """An address that the route answers, about a repository."""
    words = {kind: word for word, kind in KINDS.items()}
    prefixes = {kind: word for word, kind in PREFIXES.items()}
    path = route.template.replace("{kind}", words[kind]).replace("{repo}", repo)
    path = path.replace("/{prefix}", f"/{prefixes[kind]}" if prefixes[kind] else "")
    known = {"rev": "main", "org": "acme", "path": "README.md", "revision": "main"}
    return re.sub(r"\{(\w+)\*?\}", lambda found: known.get(found[1], "7"), path)


def _kinds(route: Route) -> list[str]:
    several = "{kind}" in route.template or "{prefix}" in route.template
    return list(KINDS.values()) if several else ["model"]


def _stub(route: Route) -> Route:
    async def later(ask: Any) -> Response:
        return Response(status_code=REACHED)

    def at_once(ask: Any) -> Response:
        return Response(status_code=REACHED)

    streams = inspect.iscoroutinefunction(route.answer)
    return replace(route, answer=later if streams else at_once, takes=None)


def _expected(route: Route, caller: str, state: str) -> bool:
    rights = TABLE[caller]
    if route.needs == Need.SIGNED:
        return True  # who asks is not looked at
    if rights is None:
        return False
    if route.method in UNSAFE and caller == "session without CSRF":
        return False
    held = rights[STATES.index(state)]
    if isinstance(route.needs, Right):
        return held >= route.needs
    if "{repo}" in route.template and held < Right.READ:
        return False
    return caller in NEEDS[route.needs]


def test_the_table_is_about_all_callers(stage: Any) -> None:
    assert set(stage.headers) == set(TABLE)
    assert stage.states == STATES


def _about_repos(route: Route) -> bool:
    return "{repo}" in route.template


def _refused_as_it_should(answer: Any, caller: str, hidden: bool) -> bool:
    if TABLE[caller] is None:
        return answer.status == 401
    known = caller in SIGNED_IN
    if hidden:
        return answer.status == (404 if known else 401)
    return answer.status == (403 if known else 401) or answer.status == 403


def _id(route: Route) -> str:
    return f"{route.method} {route.template}"


@pytest.mark.parametrize("route", ROUTES, ids=_id)
def test_a_route_is_reached_by_those_who_may_and_by_nobody_else(
    stage: Any, ask: Callable[..., Any], route: Route
) -> None:
    app = stage.app([_stub(one) for one in ROUTES if one.template == route.template])
    for kind in _kinds(route):
        # all states of models; for the other kinds one will do, the code is the same
        states = STATES if kind == "model" and _about_repos(route) else ("private",)
        for state in states:
            path = _filled(route, f"acme/{state}", kind)
            for caller, rights in TABLE.items():
                answer = ask(app, route.method, path, stage.headers[caller])
                told = f"{route.method} {path} as {caller}: {answer.status} {answer.body!r}"
                if _expected(route, caller, state):
                    assert answer.status == REACHED, told
                    continue
                held = rights[STATES.index(state)] if rights else Right.NONE
                hidden = _about_repos(route) and held == Right.NONE
                assert _refused_as_it_should(answer, caller, hidden), told


def _contents(world: Any) -> dict[str, list[Any]]:
    with world.hub.database.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table))]
            for table in metadata.sorted_tables
        }


@pytest.mark.parametrize("route", ROUTES, ids=_id)
def test_a_refused_request_changes_nothing(
    stage: Any, ask: Callable[..., Any], route: Route
) -> None:
    """The real functions, asked by those who may not, with bodies of several kinds."""
    app = stage.app(ROUTES)
    before = _contents(stage.world)
    body = b'{"name": "x", "title": "x", "status": "closed", "private": true, "role": "admin"}'
    states = STATES if _about_repos(route) else ("public",)
    asked = 0
    for state in states:
        path = _filled(route, f"acme/{state}", "model")
        for caller in TABLE:
            if _expected(route, caller, state):
                continue
            headers = [*stage.headers[caller], ("Content-Type", "application/json")]
            answer = ask(app, route.method, path, headers, body if route.method in UNSAFE else b"")
            assert answer.status in (401, 403, 404), (path, caller, answer)
            assert not any(name == b"set-cookie" for name, _ in answer.headers)
            asked += 1
    assert asked or route.needs == Need.SIGNED
    assert _contents(stage.world) == before


@pytest.mark.parametrize("route", [one for one in ROUTES if _about_repos(one)], ids=_id)
def test_missing_and_private_look_the_same(
    stage: Any, ask: Callable[..., Any], route: Route
) -> None:
    app = stage.app(ROUTES, error_page)
    for kind in _kinds(route):
        for caller in ("anonymous", "other", "hub admin, read token"):
            private, missing = (
                ask(app, route.method, _filled(route, name, kind), stage.headers[caller])
                for name in ("acme/private", "acme/missing")
            )
            # a page's link to the form for signing in leads back to the address that was asked for
            known = re.sub(rb"(acme(/|%2F))private", rb"\1missing", private.body)
            assert replace(private, body=known).comparable() == missing.comparable(), caller
            assert private.status in (401, 404)
