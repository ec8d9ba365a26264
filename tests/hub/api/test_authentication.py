"""Tokens, sessions, and requests that another site makes a browser send."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from http.cookies import SimpleCookie
from typing import Any

import argon2
import pytest
from sqlalchemy import func, select, update

from llmos.hub.accounts import passwords, people, standing, tokens
from llmos.hub.accounts.rights import account_row
from llmos.hub.api.app import HubApp
from llmos.hub.api.surface import ROUTES
from llmos.hub.database.connection import now
from llmos.hub.database.tables import audit, sessions
from llmos.hub.database.tables import tokens as tokens_table

PASSWORD = "correct horse battery"
Asks = Callable[..., Any]


@pytest.fixture
def hub(new_world: Any, tmp_path: Any) -> Iterator[Any]:
    world = new_world(tmp_path / "hub", signup="open", logins_per_minute=0)
    world.user("alice")
    yield world.hub
    world.hub.close()


@pytest.fixture
def app(hub: Any) -> HubApp:
    return HubApp(hub, ROUTES)


def _post(ask: Asks, app: HubApp, path: str, body: Any, *headers: tuple[str, str]) -> Any:
    return ask(app, "POST", path, headers, json.dumps(body).encode())


def _cookie(answer: Any) -> tuple[str, str]:
    [(name, morsel)] = SimpleCookie(answer.header("set-cookie")).items()
    return "Cookie", f"{name}={morsel.value}"


def _signed_up(ask: Asks, app: HubApp, name: str = "carol") -> tuple[tuple[str, str], str]:
    """The cookie and the CSRF token."""
    got = _post(ask, app, "/api/hub/signup", {"name": name, "password": PASSWORD})
    assert got.status == 200, got.body
    return _cookie(got), json.loads(got.body)["csrf"]


def test_a_token_comes_as_bearer_or_as_gits_password(app: HubApp, ask: Asks) -> None:
    basic = base64.b64encode(b"anything:hf_token_of_alice").decode()
    for header in ("Bearer hf_token_of_alice", "bearer  hf_token_of_alice", f"Basic {basic}"):
        got = ask(app, "GET", "/api/hub/me", [("Authorization", header)])
        assert json.loads(got.body)["name"] == "alice"


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer x", "Basic ???", "Basic", "Basic \u00ff", "Bearer \u00ff\u00fe"],
)
def test_a_wrong_token_is_401_even_where_anybody_may_ask(
    app: HubApp, ask: Asks, header: str
) -> None:
    for path in ("/api/hub/me", "/api/models"):
        got = ask(app, "GET", path, [("Authorization", header)])
        assert got.status == 401
        assert got.header("www-authenticate")


def test_a_withdrawn_or_expired_token_opens_nothing_at_once(
    app: HubApp, ask: Asks, hub: Any
) -> None:
    bearer = [("Authorization", "Bearer hf_token_of_alice")]
    assert ask(app, "GET", "/api/hub/me", bearer).status == 200
    with hub.database.write() as connection:
        connection.execute(update(tokens_table).values(expires_at=now() - 1))
    assert ask(app, "GET", "/api/hub/me", bearer).status == 401
    with hub.database.write() as connection:
        connection.execute(update(tokens_table).values(expires_at=now() + 60_000))
    assert ask(app, "GET", "/api/hub/me", bearer).status == 200
    with hub.database.write() as connection:
        alice = account_row(connection, "alice")
        [row] = tokens.tokens_of(connection, alice.id)
        tokens.revoke_token(connection, "alice", alice, row.id)
    assert ask(app, "GET", "/api/hub/me", bearer).status == 401


def test_the_use_of_a_token_is_noted_once_an_hour(app: HubApp, ask: Asks, hub: Any) -> None:
    bearer = [("Authorization", "Bearer hf_token_of_alice")]
    used = select(tokens_table.c.used_at)
    ask(app, "GET", "/api/hub/me", bearer)
    with hub.database.read() as connection:
        first = connection.execute(used).scalar()
    assert first is not None
    ask(app, "GET", "/api/hub/me", bearer)
    with hub.database.read() as connection:
        assert connection.execute(used).scalar() == first


def test_roles_in_all_organisations_come_with_the_token(hub: Any, app: HubApp, ask: Asks) -> None:
    with hub.database.write() as connection:
        alice = account_row(connection, "alice")
        for number in range(3):
            org = people.make_account(connection, "test", f"org{number}", "org")
            people.set_role(connection, "test", org, alice, "admin")
    bearer = [("Authorization", "Bearer hf_token_of_alice"), ("Content-Type", "application/json")]
    for number in range(3):
        path = f"/api/hub/orgs/org{number}"
        assert ask(app, "PATCH", path, bearer, b'{"about": "x"}').status == 200


def test_the_cookie_is_for_this_hub_and_not_for_scripts(
    app: HubApp, ask: Asks, new_world: Any, tmp_path: Any
) -> None:
    body = {"name": "carol", "password": PASSWORD}
    plain = _post(ask, app, "/api/hub/signup", body).header("set-cookie")
    assert plain.startswith("llmos_session=")
    assert "HttpOnly" in plain and "SameSite=lax" in plain and "Path=/" in plain
    assert "Secure" not in plain and "Domain" not in plain
    world = new_world(tmp_path / "https", signup="open", public_url="https://hub.example.org")
    secure = _post(ask, HubApp(world.hub, ROUTES), "/api/hub/signup", body).header("set-cookie")
    assert secure.startswith("__Host-llmos_session=") and "Secure" in secure
    world.hub.close()


def test_over_https_a_cookie_without_the_prefix_is_nobodys(
    new_world: Any, tmp_path: Any, ask: Asks
) -> None:
    """Any host of the domain could have set it."""
    world = new_world(tmp_path / "https", signup="open", public_url="https://hub.example.org")
    app = HubApp(world.hub, ROUTES)
    (_, cookie), _ = _signed_up(ask, app)
    assert ask(app, "GET", "/api/hub/me", [("Cookie", cookie)]).status == 200
    tossed = cookie.removeprefix("__Host-")
    assert ask(app, "GET", "/api/hub/me", [("Cookie", tossed)]).status == 401
    world.hub.close()


def test_each_sign_in_is_a_new_session_kept_as_its_hash(app: HubApp, ask: Asks, hub: Any) -> None:
    first, _ = _signed_up(ask, app)
    body = {"name": "Carol", "password": PASSWORD}
    second = _cookie(_post(ask, app, "/api/hub/login", body))
    assert first != second
    with hub.database.read() as connection:
        kept = connection.execute(select(sessions)).all()
    assert len(kept) == 2
    assert not any(first[1].partition("=")[2] in row for row in map(tuple, kept))


def test_a_cookie_that_somebody_made_up_is_not_taken_over(app: HubApp, ask: Asks) -> None:
    """Session fixation: what the attacker put into the browser is no session after signing in."""
    _signed_up(ask, app)
    planted = ("Cookie", "llmos_session=planted-by-the-attacker")
    body = {"name": "carol", "password": PASSWORD}
    got = _post(ask, app, "/api/hub/login", body, planted)
    assert got.status == 200 and _cookie(got) != planted
    assert ask(app, "GET", "/api/hub/me", [planted]).status == 401


def test_signing_out_ends_the_session(app: HubApp, ask: Asks) -> None:
    cookie, csrf = _signed_up(ask, app)
    got = _post(ask, app, "/api/hub/logout", {}, cookie, ("X-CSRF-Token", csrf))
    assert got.status == 200 and 'llmos_session=""' in got.header("set-cookie")
    assert ask(app, "GET", "/api/hub/me", [cookie]).status == 401


def test_an_expired_session_or_a_disabled_account_is_nobody(
    app: HubApp, ask: Asks, hub: Any
) -> None:
    cookie, _ = _signed_up(ask, app)
    with hub.database.write() as connection:
        connection.execute(update(sessions).values(expires_at=now() - 1))
    assert ask(app, "GET", "/api/hub/me", [cookie]).status == 401
    with hub.database.write() as connection:
        connection.execute(update(sessions).values(expires_at=now() + 60_000))
    assert ask(app, "GET", "/api/hub/me", [cookie]).status == 200
    with hub.database.write() as connection:
        standing.disable(connection, "test", account_row(connection, "carol"))
    assert ask(app, "GET", "/api/hub/me", [cookie]).status == 401
    body = {"name": "carol", "password": PASSWORD}
    assert _post(ask, app, "/api/hub/login", body).status == 401


def test_a_new_password_ends_the_other_sessions_only(app: HubApp, ask: Asks) -> None:
    first, _ = _signed_up(ask, app)
    got = _post(ask, app, "/api/hub/login", {"name": "carol", "password": PASSWORD})
    second, csrf = _cookie(got), json.loads(got.body)["csrf"]
    change = {"old": "wrong", "new": "another good one"}
    sent = (second, ("X-CSRF-Token", csrf))
    assert _post(ask, app, "/api/hub/me/password", change, *sent).status == 403
    change["old"] = PASSWORD
    assert _post(ask, app, "/api/hub/me/password", change, *sent).status == 200
    assert ask(app, "GET", "/api/hub/me", [first]).status == 401
    assert ask(app, "GET", "/api/hub/me", [second]).status == 200


# --- requests forged by other sites
def _org(ask: Asks, app: HubApp, name: str, *headers: tuple[str, str]) -> int:
    return int(_post(ask, app, "/api/hub/orgs", {"name": name}, *headers).status)


def test_a_session_must_send_its_own_csrf_token(app: HubApp, ask: Asks) -> None:
    cookie, csrf = _signed_up(ask, app)
    _, others = _signed_up(ask, app, "mallory")
    for number, sent in enumerate(("", "x", others, csrf[:-1], csrf + " x", "\u00ff")):
        assert _org(ask, app, f"a{number}", cookie, ("X-CSRF-Token", sent)) == 403
    assert _org(ask, app, "a", cookie) == 403
    assert _org(ask, app, "a", cookie, ("X-CSRF-Token", csrf)) == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),  # no browser
        ([("Sec-Fetch-Site", "same-origin")], 200),
        ([("Sec-Fetch-Site", "none")], 200),
        ([("Sec-Fetch-Site", "cross-site")], 403),
        ([("Sec-Fetch-Site", "same-site")], 403),  # another host of the domain
        ([("Sec-Fetch-Site", "cross-site"), ("Origin", "http://hub.test")], 403),
        ([("Origin", "http://hub.test")], 200),
        ([("Origin", "http://HUB.test")], 200),
        ([("Origin", "http://evil.example")], 403),
        ([("Origin", "http://hub.test.evil.example")], 403),
        ([("Origin", "http://hub.test:81")], 403),
        ([("Origin", "null")], 403),
        ([("Origin", "http://[")], 403),
    ],
)
def test_nobody_can_be_signed_in_by_another_site(
    app: HubApp, ask: Asks, headers: list[tuple[str, str]], status: int
) -> None:
    body = {"name": "carol", "password": PASSWORD}
    assert _post(ask, app, "/api/hub/signup", body, *headers).status == status
    if status == 200:
        assert _post(ask, app, "/api/hub/login", body, *headers).status == 200


def test_a_right_csrf_token_does_not_help_another_site(app: HubApp, ask: Asks) -> None:
    cookie, csrf = _signed_up(ask, app)
    sent = (cookie, ("X-CSRF-Token", csrf), ("Sec-Fetch-Site", "cross-site"))
    assert _org(ask, app, "a", *sent) == 403


def test_tokens_need_no_csrf(app: HubApp, ask: Asks) -> None:
    sent = [("Authorization", "Bearer hf_token_of_alice"), ("Origin", "http://notebook.example")]
    assert _org(ask, app, "a", *sent) == 200


# --- who tries passwords
def test_a_wrong_password_and_an_unknown_name_look_the_same(app: HubApp, ask: Asks) -> None:
    _signed_up(ask, app)
    wrong = _post(ask, app, "/api/hub/login", {"name": "carol", "password": "wrong"})
    unknown = _post(ask, app, "/api/hub/login", {"name": "nobody", "password": "wrong"})
    tokens_only = _post(ask, app, "/api/hub/login", {"name": "alice", "password": "wrong"})
    assert wrong.status == 401
    assert wrong.comparable() == unknown.comparable() == tokens_only.comparable()


def test_an_unknown_name_costs_as_much_as_a_wrong_password(
    app: HubApp, ask: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told by what is hashed, not by seconds."""
    _signed_up(ask, app)
    passwords.matches(None, "warm")
    hashed = []
    verify = passwords.PasswordHasher.verify

    def counted(self: Any, *arguments: Any) -> Any:
        hashed.append(argon2.extract_parameters(arguments[0]).memory_cost)
        return verify(self, *arguments)

    monkeypatch.setattr(passwords.PasswordHasher, "verify", counted)
    for name in ("carol", "nobody", "alice"):
        hashed.clear()
        _post(ask, app, "/api/hub/login", {"name": name, "password": "wrong"})
        assert hashed == [19_456], name


def test_failures_are_logged_without_what_was_typed_and_do_not_flood(
    app: HubApp, ask: Asks, hub: Any
) -> None:
    _signed_up(ask, app)
    secret = "hunter2-typed-into-the-name"
    _post(ask, app, "/api/hub/login", {"name": "carol", "password": secret})
    _post(ask, app, "/api/hub/login", {"name": secret, "password": secret})
    with hub.database.read() as connection:
        rows = connection.execute(select(audit).where(audit.c.action == "login.failed")).all()
    assert [row.target for row in rows] == ["carol", "(unknown)"]
    assert secret not in str(rows)
    hub.limits.noted_failures.per_minute = 2
    for _ in range(20):
        _post(ask, app, "/api/hub/login", {"name": "carol", "password": "wrong"})
    count = select(func.count()).where(audit.c.action == "login.failed")
    with hub.database.read() as connection:
        assert connection.execute(count).scalar_one() < 8


def test_a_token_for_a_repository_goes_with_it_when_it_moves(world: Any) -> None:
    for kind, name in (("model", "old"), ("dataset", "new"), ("model", "another")):
        about = {"type": kind, "organization": "acme", "name": name}
        assert world.ask("POST", "/api/repos/create", "alice", json=about).status_code == 200
    with world.hub.database.write() as connection:
        row = account_row(connection, "alice")
        assert row is not None
        world.tokens["ci"] = tokens.add_token(
            connection, "alice", row, label="ci", scope="fineGrained", repos=["acme/old"]
        )

    def commit(name: str, kind: str = "models") -> int:
        lines = b'{"key": "header", "value": {"summary": "x"}}\n'
        lines += b'{"key": "file", "value": {"path": "a", "content": "b"}}\n'
        path = f"/api/{kind}/acme/{name}/commit/main"
        return int(world.ask("POST", path, "ci", content=lines).status_code)

    assert (commit("old"), commit("another")) == (200, 403)
    move = {"fromRepo": "acme/old", "toRepo": "acme/new", "type": "model"}
    assert world.ask("POST", "/api/repos/move", "ci", json=move).status_code == 403
    assert world.ask("POST", "/api/repos/move", "alice", json=move).status_code == 200
    assert commit("new") == commit("old") == 200
    assert commit("new", "datasets") == commit("another") == 403
    about = {"organization": "acme", "name": "old"}  # the name is another repository's from now on
    assert world.ask("POST", "/api/repos/create", "alice", json=about).status_code == 200
    assert commit("new") == 403
