"""Webhooks and notifications as their owners see them."""

from __future__ import annotations

import pytest
from huggingface_hub import HfApi, WebhookWatchedItem, constants
from huggingface_hub.errors import HfHubHTTPError

ALL = "/api/settings/webhooks"
WATCHED = [WebhookWatchedItem(type="user", name="Someone"), {"type": "org", "name": "acme"}]


@pytest.fixture(autouse=True)
def online(monkeypatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def test_a_webhook_from_start_to_end(world, live: str) -> None:
    alice = HfApi(endpoint=live, token=world.tokens["alice"])
    bob = HfApi(endpoint=live, token=world.tokens["bob"])
    made = alice.create_webhook(url="https://example.org/x", watched=WATCHED, secret="s")
    assert (made.url, made.domains, made.secret) == (
        "https://example.org/x",
        ["repo", "discussion"],
        "s",
    )
    assert [item.name for item in made.watched] == ["Someone", "acme"]
    assert alice.get_webhook(made.id) == made
    assert alice.list_webhooks() == [made] and bob.list_webhooks() == []
    with pytest.raises(HfHubHTTPError, match="404"):
        bob.get_webhook(made.id)
    assert alice.disable_webhook(made.id).disabled
    assert not alice.enable_webhook(made.id).disabled
    changed = alice.update_webhook(made.id, url="https://example.org/y", domains=["repo"])
    assert (changed.url, changed.domains, changed.secret) == (
        "https://example.org/y",
        ["repo"],
        "s",
    )
    assert changed.watched == made.watched
    alice.create_repo("acme/thing")
    (sent,) = world.ask("GET", f"{ALL}/{made.id}/deliveries", "alice").json()
    assert (sent["event"], sent["status"]) == ({"action": "create", "scope": "repo"}, "waiting")
    assert world.ask("GET", f"{ALL}/{made.id}/deliveries", "bob").status_code == 404
    alice.delete_webhook(made.id)
    assert alice.list_webhooks() == []


def test_what_makes_no_sense_is_refused(world) -> None:
    good = {"url": "https://example.org/", "watched": [{"type": "org", "name": "acme"}]}
    for change in (
        {"url": None},
        {"url": "ftp://example.org"},
        {"url": "http://a\r\nb"},
        {"watched": []},
        {"watched": [{"type": "planet", "name": "x"}]},
        {"watched": [{"type": "org", "name": ""}]},
        {"watched": [{"type": "org"}]},
        {"watched": [{"type": "org", "name": "x"}] * 201},
        {"domains": []},
        {"domains": ["everything"]},
        {"secret": "a\r\nX-Admin: yes"},
        {"secret": "é"},
        {"secret": "x" * 201},
    ):
        answer = world.ask("POST", ALL, "alice", json={**good, **change})
        assert answer.status_code == 400, (change, answer.text)
    assert world.ask("POST", ALL, "alice", json=good).status_code == 200
    assert world.ask("POST", ALL, None, json=good).status_code == 401


def test_notifications_of_those_concerned(world, live: str) -> None:
    alice = HfApi(endpoint=live, token=world.tokens["alice"])
    bob = HfApi(endpoint=live, token=world.tokens["bob"])
    world.user("carol")
    alice.create_repo("acme/thing")
    alice.create_repo("acme/hidden", private=True)
    number = bob.create_discussion("acme/thing", "Hello", description="@Carol, see").num
    alice.create_discussion("acme/hidden", "Secret", description="@carol @bob")

    def shown(user: str, query: str = "") -> list[tuple]:
        found = world.ask("GET", f"/api/notifications{query}", user).json()
        return [
            (one["discussion"]["title"], one["reason"], one["read"])
            for one in found["notifications"]
        ]

    assert shown("alice") == [("Hello", "discussion", False)]
    assert shown("carol") == [("Hello", "mention", False)]
    none = {"view": 0, "unread": 0, "all": 0}  # of what may not be seen nothing is counted
    assert world.ask("GET", "/api/notifications", "bob").json()["count"] == none
    alice.comment_discussion("acme/thing", number, "answer")
    assert shown("bob") == [("Hello", "discussion", False)]
    one = world.ask("GET", "/api/notifications", "alice").json()["notifications"][0]
    mark = {"discussionIds": [one["discussion"]["id"]]}
    answer = world.ask("POST", "/api/notifications/mark-as-read", "alice", json=mark)
    assert answer.status_code == 200
    assert shown("alice") == [("Hello", "discussion", True)]
    assert shown("alice", "?readStatus=unread") == []
    bob.comment_discussion("acme/thing", number, "again")
    assert shown("alice", "?readStatus=unread") == [("Hello", "discussion", False)]
    world.ask("POST", "/api/notifications/mark-as-read?applyToAll=true", "alice", json={})
    assert world.ask("DELETE", "/api/notifications", "alice").status_code == 200
    assert shown("alice") == []
    alice.update_repo_settings("acme/thing", visibility="private")
    assert shown("carol") == []
    for bad in ({"discussionIds": ["x"]}, {"discussionIds": "x"}, {"discussionIds": ["x" * 24]}):
        answer = world.ask("POST", "/api/notifications/mark-as-read", "alice", json=bad)
        assert answer.status_code == 400
    assert world.ask("GET", "/api/notifications?readStatus=odd", "alice").status_code == 400
    assert world.ask("GET", "/api/notifications").status_code == 401
