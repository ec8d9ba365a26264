"""What one does with forms, with a repository, as a browser does it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from llmos.hub.database.tables import access_requests, repos
from llmos.hub.git import trees, versions

PASSWORD = "long enough, I think"


def row(site: Any, kind: str, name: str) -> Any:
    with site.hub.database.read() as connection:
        same = (repos.c.kind == kind) & (repos.c.full_name == name)
        return connection.execute(select(repos).where(same)).first()


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_a_new_repository(site: Any, alice: Any, kind: str) -> None:
    given = {"kind": kind, "owner": "acme", "name": "fresh", "visibility": "private"}
    alice.send("/new", sharing="open", recipe="", **given)
    assert row(site, kind, "acme/fresh").private
    again = alice.send("/new", 409, sharing="open", recipe="", **given)
    assert 'value="fresh"' in again.text
    alice.send("/new", 403, kind=kind, owner="bob", name="x", visibility="public", sharing="open")
    alice.send("/new", 400, kind=kind, owner="acme", name="a b", visibility="", sharing="open")
    alice.send("/new", 400, kind="thing", owner="acme", name="x")


def test_a_new_run_needs_a_recipe(site: Any, alice: Any) -> None:
    given = {"kind": "run", "owner": "acme", "name": "next", "visibility": "public"}
    assert "recipe" in alice.send("/new", 422, recipe="no = toml = ", **given).text
    page = alice.send("/new", recipe='version = 1\nname = "next"\n', **given)
    assert "sha256" in page.text and row(site, "run", "acme/next") is not None


def test_likes(site: Any, bob: Any) -> None:
    assert "♥" in bob.send("/acme/small/like").text
    bob.send("/acme/small/like")
    assert row(site, "model", "acme/small").likes == 1
    assert "♥" not in bob.send("/acme/small/unlike").text
    assert site.browser().post("/acme/small/like").status_code == 401


def test_discussions_and_pull_requests(site: Any, alice: Any, bob: Any) -> None:
    page = bob.send(
        "/acme/small/discussions", kind="discussion", title="Which text?", text="**Which**?"
    )
    assert "<strong>Which</strong>" in page.text
    alice.send("/acme/small/discussions/3/comment", text="Ours.\r\n\r\n- one")
    page = bob.client.get("/acme/small/discussions/3")
    assert "Ours." in page.text and "<li>one</li>" in page.text
    bob.send("/acme/small/discussions/3/comment", 400, text="  ")
    bob.send("/acme/small/discussions/3/status", status="closed")
    assert "Which text?" in bob.client.get("/acme/small/discussions?status=closed").text
    assert "Which text?" not in bob.client.get("/acme/small/discussions").text
    bob.send("/acme/small/discussions/1/title", title="Renamed <b>")
    assert "Renamed &lt;b&gt;" in bob.client.get("/acme/small/discussions/1").text
    bob.send("/acme/small/discussions/2/merge", 403)
    assert "new.txt" in alice.client.get("/acme/small/discussions/2").text
    alice.send("/acme/small/discussions/2/merge")
    with site.hub.database.read() as connection:
        model = row(site, "model", "acme/small")
        root = versions.resolve(connection, model.id, "main").tree
        assert trees.find(connection, root, "new.txt") is not None
    alice.send("/acme/small/discussions/2/merge", 400)
    draft = bob.send("/acme/small/discussions", kind="pull_request", title="More", text="")
    assert "refs/pr/4" in draft.text and "draft" in draft.text
    assert site.browser().get("/acme/small/discussions/new").status_code == 401


def test_settings_of_a_repository(site: Any, alice: Any, bob: Any) -> None:
    given = {"visibility": "private", "gated": "auto", "sharing": "open"}
    bob.send("/acme/small/settings", 403, **given)
    alice.send("/acme/small/settings", **given)
    changed = row(site, "model", "acme/small")
    assert changed.private and changed.gated == "auto" and changed.discussions_off
    assert bob.client.get("/acme/small").status_code == 404
    alice.send("/acme/small/settings", visibility="public", gated="", sharing="metadata",
               discussions="1")  # fmt: skip
    changed = row(site, "model", "acme/small")
    assert not changed.private and changed.gated is None and changed.sharing == "metadata"
    alice.send("/acme/small/settings", 400, visibility="public", gated="x", sharing="open")


def test_moving_and_deleting(site: Any, alice: Any, bob: Any) -> None:
    bob.send("/acme/small/settings/delete", 403, name="acme/small")
    alice.send("/acme/small/settings/move", name="alice/tiny")
    assert site.browser().get("/acme/small").headers["location"] == "/alice/tiny"
    alice.send("/alice/tiny/settings/delete", 400, name="tiny")
    assert row(site, "model", "alice/tiny") is not None
    alice.send("/alice/tiny/settings/delete", name="alice/tiny")
    assert row(site, "model", "alice/tiny") is None


def test_asking_for_access(site: Any, alice: Any, bob: Any) -> None:
    answer = bob.client.post(
        "/acme/gated/ask-access", data={"csrf": bob.token, "reason": "To <b>compare</b>"}
    )
    assert answer.status_code == 303
    assert "decision is pending" in bob.client.get("/acme/gated").text
    page = alice.client.get("/acme/gated/access").text
    assert "To &lt;b&gt;compare&lt;/b&gt;" in page
    alice.send("/acme/gated/access/decide", user="bob", status="accepted")
    assert bob.client.get("/acme/gated/tree/main").status_code == 200
    alice.send("/acme/gated/access/decide", user="bob", status="rejected")
    assert bob.client.get("/acme/gated/tree/main").status_code == 403
    assert "turned down" in bob.client.get("/acme/gated").text
    alice.send("/acme/gated/access/grant", user="root")
    with site.hub.database.read() as connection:
        found = connection.scalars(select(access_requests.c.fields)).all()
    assert {"reason": "To <b>compare</b>"} in found  # and nothing of the session
    bob.send("/acme/gated/access/grant", 403, user="bob")
