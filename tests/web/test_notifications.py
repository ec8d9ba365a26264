"""Notifications as a page: counted in the head of every page, read by opening, marked, deleted."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import select

from llmos.hub.accounts.rights import account_row
from llmos.hub.database.connection import Database
from llmos.hub.database.tables import notifications, repos
from llmos.hub.errors import HubError


def waiting(browser: Any, path: str = "/models") -> int:
    """The number in the head of a page."""
    found = re.search(
        r'href="/notifications" aria-label="(?:(\d+) unread)?', browser.get(path).text
    )
    assert found
    return int(found[1] or 0)


def rows(site: Any, name: str) -> list[tuple[int, bool]]:
    with site.hub.database.read() as connection:
        account = account_row(connection, name)
        assert account is not None
        mine = notifications.c.account_id == account.id
        found = connection.execute(select(notifications).where(mine)).all()
    return sorted((row.number, row.unread) for row in found)


def test_what_is_new_is_counted_until_it_is_opened(site: Any, alice: Any, bob: Any) -> None:
    assert waiting(alice.client) == 2  # bob's discussion and pull request in acme/small
    page = alice.client.get("/notifications").text
    assert 'href="/acme/small/discussions/1"' in page and "look after" in page
    alice.client.get("/acme/small/discussions/1")
    assert waiting(alice.client) == 1
    assert 'href="/acme/small/discussions/1"' not in alice.client.get("/notifications").text
    assert 'href="/acme/small/discussions/1"' in alice.client.get("/notifications?show=all").text
    alice.send("/acme/small/discussions/1/comment", text="See")
    assert (waiting(bob.client), waiting(alice.client)) == (1, 1)
    assert "you take part" in bob.client.get("/notifications").text
    assert "notifications" not in site.browser().get("/").text
    assert site.browser().get("/notifications").status_code == 401


def test_marking_and_deleting(site: Any, alice: Any, bob: Any) -> None:
    page = alice.client.get("/notifications").text
    first, second = re.findall(r'name="which" value="(\d+-\d+)"', page)
    alice.send("/notifications/read", which=first)
    assert waiting(alice.client) == 1
    alice.send("/notifications/read", which=first, unread="1", every="1")
    assert waiting(alice.client) == 2
    bob.send("/notifications/read", which=second)  # another's: nothing happens
    assert rows(site, "alice") == [(1, True), (2, True)]
    alice.send("/notifications/read", which=second)
    alice.send("/notifications/clear", every="1")
    assert [unread for _, unread in rows(site, "alice")] == [True]
    alice.send("/notifications/read", which="all")
    assert waiting(alice.client) == 0 and "Nothing new" in alice.client.get("/notifications").text
    for odd in ("", "x", "1-", "1-x", "²-1", "9" * 20 + "-1"):
        alice.send("/notifications/read", 400, which=odd)
    assert alice.client.post("/notifications/read", data={"which": "all"}).status_code == 403


def test_a_request_for_access_waits_until_it_is_looked_at(site: Any, alice: Any, bob: Any) -> None:
    alice.send("/notifications/read", which="all")
    bob.client.post("/acme/gated/ask-access", data={"csrf": bob.token, "reason": "x"})
    page = alice.client.get("/notifications").text
    assert 'href="/acme/gated/access"' in page and "Requests for access" in page
    alice.client.get("/acme/gated/access")
    assert waiting(alice.client) == 0


def test_what_one_may_no_longer_see_is_neither_counted_nor_shown(
    site: Any, alice: Any, bob: Any
) -> None:
    alice.send("/acme/small/discussions/1/comment", text="See")
    assert waiting(bob.client) == 1
    with site.hub.database.write() as connection:
        named = repos.c.full_name == "acme/small"
        connection.execute(repos.update().where(named).values(private=True))
    assert waiting(bob.client) == 0
    assert "acme/small" not in bob.client.get("/notifications?show=all").text
    assert waiting(alice.client) >= 1


def test_reading_works_when_nothing_can_be_written(site: Any, alice: Any, monkeypatch: Any) -> None:
    def full(self: Database) -> Any:
        raise HubError(507, "The disk is full")

    monkeypatch.setattr(Database, "write", full)
    assert alice.client.get("/acme/small/discussions/1").status_code == 200
    assert rows(site, "alice") == [(1, True), (2, True)]
