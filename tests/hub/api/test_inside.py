"""Routes that decide for themselves who may, or whose addresses are signed: each by name, each with
its own cases. A new one of that kind is missing here until somebody has written them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from llmos.hub.api.routing import Need
from llmos.hub.database.tables import metadata, repos
from llmos.web.routes import WHOLE as ROUTES

RECIPES = Path(__file__).parents[3] / "recipes"
BAD = ("expired token", "wrong token", "disabled user")
OUTSIDE = ("anonymous", "other", "hub admin, read token", "disabled user's session")
READING = ("reader", "read token", "token for another")
LFS = "/{prefix}/{repo}.git/info/lfs/objects/batch"
# (method, template) -> the test here or elsewhere that asks it as those who may not
COVERED = {
    ("POST", "/api/repos/create"): "test_creating",
    ("DELETE", "/api/repos/delete"): "test_deleting_and_moving",
    ("POST", "/api/repos/move"): "test_deleting_and_moving",
    ("POST", "/api/runs"): "test_planning_a_run",
    ("GET", "/api/organizations/{organization}/settings/repositories"): "test_what_an_org_stores",
    ("GET", "/metrics"): "test_metrics",
    ("GET", "/{account}"): "test_pages_of_accounts_and_short_names",
    ("POST", LFS): "test_large_files",
}


def test_every_route_that_decides_for_itself_is_covered() -> None:
    inside = {(one.method, one.template) for one in ROUTES if one.needs == Need.INSIDE}
    assert inside <= set(COVERED)
    assert all(name in globals() for name in COVERED.values())
    for one in ROUTES:
        if one.needs == Need.INSIDE:
            assert len(one.answer.__doc__) > 20, f"{one.template} must say what it needs"


def _dump(stage: Any) -> dict[str, list[Any]]:
    with stage.world.hub.database.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table))]
            for table in metadata.sorted_tables
        }


def _post(
    ask: Callable[..., Any], stage: Any, caller: str, method: str, path: str, body: Any
) -> int:
    headers = [*stage.headers[caller], ("Content-Type", "application/json")]
    answer = ask(stage.app(ROUTES), method, path, headers, json.dumps(body).encode())
    return int(answer.status)


@pytest.mark.parametrize(
    "caller", [*BAD, *OUTSIDE, *READING, "token for this", "session without CSRF"]
)
def test_creating(stage: Any, ask: Callable[..., Any], caller: str) -> None:
    before = _dump(stage)
    body = {"name": "new", "organization": "acme"}
    assert _post(ask, stage, caller, "POST", "/api/repos/create", body) in (401, 403)
    short = {"name": "gpt2", "organization": ""}
    assert _post(ask, stage, caller, "POST", "/api/repos/create", short) in (401, 403)
    assert _dump(stage) == before


def test_only_hub_admins_make_short_names(stage: Any, ask: Callable[..., Any]) -> None:
    before = _dump(stage)
    for caller in ("admin", "maintainer", "session"):
        short = {"name": "gpt2", "organization": ""}
        assert _post(ask, stage, caller, "POST", "/api/repos/create", short) == 403
    assert _dump(stage) == before


@pytest.mark.parametrize(
    "caller",
    [*BAD, *OUTSIDE, *READING, "contributor", "maker", "maintainer", "session without CSRF"],
)
def test_deleting_and_moving(stage: Any, ask: Callable[..., Any], caller: str) -> None:
    before = _dump(stage)
    for state in stage.states:
        body = {"name": state, "organization": "acme", "type": "model"}
        assert _post(ask, stage, caller, "DELETE", "/api/repos/delete", body) in (401, 403, 404)
        body = {"fromRepo": f"acme/{state}", "toRepo": "bob/mine", "type": "model"}
        assert _post(ask, stage, caller, "POST", "/api/repos/move", body) in (401, 403, 404)
    assert _dump(stage) == before


def test_moving_to_where_one_may_not_make(stage: Any, ask: Callable[..., Any]) -> None:
    before = _dump(stage)
    body = {"fromRepo": "acme/public", "toRepo": "bob/mine", "type": "model"}
    for caller in ("admin", "session", "token for this"):
        assert _post(ask, stage, caller, "POST", "/api/repos/move", body) == 403
    assert _dump(stage) == before


def test_missing_and_private_look_the_same(stage: Any, ask: Callable[..., Any]) -> None:
    app = stage.app(ROUTES)
    for caller in ("anonymous", "other", "hub admin, read token"):
        for method, path, make in (
            ("DELETE", "/api/repos/delete", lambda name: {"name": name, "organization": "acme"}),
            (
                "POST",
                "/api/repos/move",
                lambda name: {"fromRepo": f"acme/{name}", "toRepo": "bob/mine"},
            ),
            ("POST", "/api/repos/create", lambda name: {"name": name, "organization": "acme"}),
        ):
            private, missing = (
                ask(app, method, path, stage.headers[caller], json.dumps(make(name)).encode())
                for name in ("private", "missing")
            )
            assert private.comparable() == missing.comparable(), (caller, path)


@pytest.mark.parametrize("caller", [*BAD, *OUTSIDE, *READING, "session without CSRF"])
def test_planning_a_run(stage: Any, ask: Callable[..., Any], caller: str) -> None:
    before = _dump(stage)
    recipe = next(RECIPES.glob("*.toml")).read_text()
    body = {"name": "acme/plan", "recipe": recipe}
    assert _post(ask, stage, caller, "POST", "/api/runs", body) in (401, 403)
    assert _dump(stage) == before


def test_what_an_org_stores(stage: Any, ask: Callable[..., Any]) -> None:
    path = "/api/organizations/acme/settings/repositories"
    app = stage.app(ROUTES)
    expected = {"anonymous": 401, "other": 403, "disabled user": 401, "reader": 200, "admin": 200}
    for caller, status in expected.items():
        assert ask(app, "GET", path, stage.headers[caller]).status == status


def test_metrics(stage: Any, ask: Callable[..., Any]) -> None:
    app = stage.app(ROUTES)
    for caller in ("anonymous", "other", "admin", "session"):
        answer = ask(app, "GET", "/metrics", stage.headers[caller])
        assert answer.status in (401, 403)
    assert ask(app, "GET", "/metrics", stage.headers["hub admin"]).status == 200
    assert ask(app, "GET", "/metrics", client="127.0.0.1").status == 200
    proxied = [("X-Forwarded-For", "192.0.2.1")]
    assert ask(app, "GET", "/metrics", proxied, client="127.0.0.1").status == 403


@pytest.mark.parametrize("state", ["public", "private", "gated", "federated", "disabled"])
def test_large_files(stage: Any, ask: Callable[..., Any], state: str) -> None:
    before = _dump(stage)
    objects = [{"oid": "0" * 64, "size": 3}]
    path = f"/acme/{state}.git/info/lfs/objects/batch"
    for caller in (*BAD, *OUTSIDE, *READING, "session without CSRF"):
        upload = {"operation": "upload", "objects": objects}
        if caller in ("reader", "other") and state == "public":
            continue  # they may send the files of a pull request
        if caller == "reader" and state != "disabled":
            continue
        assert _post(ask, stage, caller, "POST", path, upload) in (401, 403, 404), caller
        download = {"operation": "download", "objects": objects}
        if state in ("private", "gated", "federated", "disabled") and caller in OUTSIDE:
            assert _post(ask, stage, caller, "POST", path, download) in (401, 403, 404), caller
    assert _dump(stage) == before


def test_pages_of_accounts_and_short_names(stage: Any, ask: Callable[..., Any]) -> None:
    app = stage.app(ROUTES)
    private, missing = (ask(app, "GET", f"/{name}") for name in ("nothing-a", "nothing-b"))
    assert private.status == missing.status
    assert ask(app, "GET", "/dan").status in (401, 404)  # disabled


@pytest.mark.parametrize("caller", ["other", "reader", "contributor"])
def test_who_may_only_propose_cannot_commit(
    stage: Any, ask: Callable[..., Any], caller: str
) -> None:
    """The commit's route asks for PROPOSE because of pull requests; branches need WRITE."""
    header = {"key": "header", "value": {"summary": "mine now"}}
    file = {"key": "file", "value": {"path": "x.txt", "content": "eA==", "encoding": "base64"}}
    body = b"\n".join(json.dumps(line).encode() for line in (header, file))
    headers = [*stage.headers[caller], ("Content-Type", "application/x-ndjson")]
    before = _dump(stage)
    for revision in ("main", "refs%2Fheads%2Fmain", "refs%2Fpr%2F1", "HEAD"):
        path = f"/api/models/acme/public/commit/{revision}"
        answer = ask(stage.app(ROUTES), "POST", path, headers, body)
        assert answer.status in (403, 404), revision
    assert _dump(stage) == before


SIGNED = [one for one in ROUTES if one.needs == Need.SIGNED]


@pytest.mark.parametrize("route", SIGNED, ids=lambda one: f"{one.method} {one.template}")
@pytest.mark.parametrize("caller", ["anonymous", "hub admin", "session"])
def test_a_signed_address_opens_nothing_without_its_signature(
    stage: Any, ask: Callable[..., Any], route: Any, caller: str
) -> None:
    before = _dump(stage)
    with stage.world.hub.database.read() as connection:
        named = repos.c.name_key == "acme/private"
        repo_id = connection.execute(select(repos.c.id).where(named)).scalars().first()
    path = route.template
    numbers = {"size": "3", "part_size": "5242880", "number": "1", "oid": "0" * 64}
    numbers |= {"hash": "0" * 64, "id": str(repo_id), "store": f"{repo_id}-1"}
    for name, value in numbers.items():
        path = path.replace(f"{{{name}}}", value)
    later = "99999999999-" + "0" * 64
    for query in (b"", b"signature=", f"signature={later}".encode()):
        body = b"abc" if route.method != "GET" else b""
        headers = [*stage.headers[caller], ("X-Signature", later)]
        answer = ask(stage.app(ROUTES), route.method, path, headers, body, query=query)
        assert answer.status in (401, 403, 404), (path, query, answer)
    assert _dump(stage) == before
