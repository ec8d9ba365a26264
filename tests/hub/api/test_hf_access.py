"""Gated repositories: asked, granted, taken back; through huggingface_hub and by hand."""

from __future__ import annotations

import threading

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError
from sqlalchemy import update

from llmos.hub.accounts.rights import Caller, account_row, roles_of
from llmos.hub.database.tables import access_requests, accounts, audit, repos
from llmos.hub.repos import making

FILE = "/acme/gated/resolve/main/a.txt"
API = "/api/models/acme/gated"


@pytest.fixture(autouse=True)
def online(monkeypatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def repo(world):
    with world.hub.database.write() as connection:
        row = account_row(connection, "alice")
        roles = roles_of(connection, row.id)
        connection.execute(update(accounts).values(email="who@example.org"))
    caller = Caller(id=row.id, name="alice", scope="write", roles=roles)
    files = {"a.txt": b"inside"}
    made = making.make_repo(world.hub, caller, "model", "acme/gated", files=files)
    _gate(world, "manual")
    return made


def _gate(world, how: str | None) -> None:
    with world.hub.database.write() as connection:
        connection.execute(update(repos).values(gated=how))


def test_asked_and_decided(world, live: str, repo) -> None:
    alice = HfApi(endpoint=live, token=world.tokens["alice"])
    bob = HfApi(endpoint=live, token=world.tokens["bob"])
    with pytest.raises(GatedRepoError):
        bob.hf_hub_download("acme/gated", "a.txt")
    asked = world.ask("POST", "/acme/gated/ask-access", "bob", json={"why": "research"})
    assert asked.json() == {"status": "pending"}
    assert world.ask("GET", FILE, "bob").status_code == 403
    (request,) = alice.list_pending_access_requests("acme/gated")
    assert (request.username, request.email) == ("bob", "who@example.org")
    assert request.fields == {"why": "research"}
    alice.accept_access_request("acme/gated", request_id=request.request_id)
    assert world.ask("GET", FILE, "bob").content == b"inside"
    alice.cancel_access_request("acme/gated", "BOB")
    assert world.ask("GET", FILE, "bob").status_code == 403
    alice.reject_access_request("acme/gated", "bob", rejection_reason="no")
    assert world.ask("POST", f"{API}/ask-access", "bob").json() == {"status": "rejected"}
    assert world.ask("DELETE", f"{API}/ask-access", "bob").status_code == 404
    with world.hub.database.read() as connection:
        actions = [row.action for row in connection.execute(audit.select())]
    assert [one for one in actions if one.startswith("access")] == [
        "access.ask",
        "access.decide",
        "access.decide",
        "access.decide",
    ]


def test_auto_lets_in_at_once_and_can_be_given_back(world, repo) -> None:
    _gate(world, "auto")
    form = {"name": "Bob", "terms": "on"}
    assert world.ask("POST", "/acme/gated/ask-access", "bob", data=form).json() == {
        "status": "accepted"
    }
    assert world.ask("GET", FILE, "bob").content == b"inside"
    assert world.ask("POST", f"{API}/user-access-request/cancel", "bob").status_code == 200
    assert world.ask("GET", FILE, "bob").status_code == 403


def test_granted_without_being_asked(world, live: str, repo) -> None:
    alice = HfApi(endpoint=live, token=world.tokens["alice"])
    alice.grant_access("acme/gated", "bob")
    (request,) = alice.list_accepted_access_requests("acme/gated")
    assert (request.username, request.email) == ("bob", None)
    for name, status in (("bob", 400), ("nobody", 404), ("acme", 404)):
        with pytest.raises(HfHubHTTPError) as caught:
            alice.grant_access("acme/gated", name)
        assert caught.value.response.status_code == status
    _gate(world, None)
    with pytest.raises(HfHubHTTPError, match="not gated"):
        alice.grant_access("acme/gated", "root")
    assert world.ask("POST", f"{API}/ask-access", "bob").status_code == 400


def test_the_same_asked_twice_at_once_is_one_request(world, repo) -> None:
    answers = []

    def ask() -> None:
        answers.append(world.ask("POST", f"{API}/ask-access", "bob").status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 4
    with world.hub.database.read() as connection:
        assert len(connection.execute(access_requests.select()).all()) == 1


def test_requests_come_in_pages(world, repo, monkeypatch) -> None:
    from llmos.hub.together import access

    monkeypatch.setattr(access, "PAGE", 2)
    for number in range(5):
        world.user(f"user{number}")
        world.ask("POST", f"{API}/ask-access", f"user{number}")
    found, path = [], f"{API}/user-access-request/pending"
    while path:
        answer = world.ask("GET", path, "alice")
        found += [one["user"]["user"] for one in answer.json()]
        link = answer.links.get("next")
        path = link["url"].removeprefix("http://testserver") if link else ""
    assert found == [f"user{number}" for number in range(5)]


def test_what_makes_no_sense_is_refused(world, repo) -> None:
    handle = f"{API}/user-access-request/handle"
    cases = [
        (handle, {"user": "bob"}, 400),
        (handle, {"status": "accepted"}, 400),
        (handle, {"status": "accepted", "user": "bob", "requestId": "1"}, 400),
        (handle, {"status": "perhaps", "user": "bob"}, 400),
        (handle, {"status": "accepted", "user": "bob"}, 404),
        (handle, {"status": "accepted", "user": "no\nbody"}, 404),
        (handle, {"status": "accepted", "requestId": "zz"}, 404),
        (handle, {"status": "accepted", "requestId": "f" * 100}, 404),
        (f"{API}/user-access-request/grant", {"user": 1}, 400),
        (f"{API}/ask-access", {"deep": {"er": 1}}, 400),
        (f"{API}/ask-access", {"long": "x" * 2001}, 400),
        (f"{API}/ask-access", {str(n): "x" for n in range(51)}, 400),
    ]
    for path, body, status in cases:
        answer = world.ask("POST", path, "alice", json=body)
        assert answer.status_code == status, (path, body, answer.text)
    assert world.ask("GET", f"{API}/user-access-request/odd", "alice").status_code == 400
    assert world.ask("GET", f"{API}/user-access-request/pending", "bob").status_code == 403
