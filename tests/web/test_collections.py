"""Collections as pages: made, filled, put in order, described, kept private, deleted."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import select

from llmos.hub.database.tables import audit
from llmos.hub.repos.making import delete_repo, move_repo, repo_by_name
from llmos.hub.together.collection_items import items_of
from llmos.hub.together.collections import find_collection


def make(browser: Any, owner: str, title: str, **more: str) -> str:
    """The address of a new collection."""
    answer = browser.client.post(
        "/collections", data={"csrf": browser.token, "owner": owner, "title": title, **more}
    )
    assert answer.status_code == 303, answer.text
    address: str = answer.headers["location"].partition("?")[0]
    return address


def names(text: str) -> list[str]:
    return re.findall(r'class="name">([^<]+)<', text)


def items(page: str) -> dict[str, str]:
    """The address of each item's form on the page for changing, by the item's name."""
    found = re.findall(r'<a href="[^"]+">([^<]+)</a> <span.*?action="([^"]+)"', page, re.DOTALL)
    return {name: action for name, action in found if "/items/" in action}


def test_a_collection_from_start_to_end(site: Any, alice: Any, bob: Any) -> None:
    first = {"kind": "model", "name": "acme/small"}
    address = make(alice, "acme", "Small ones", description="Two\nlines", **first)
    alice.send(f"{address}/items", kind="run", name="acme/run", note="that <b>made</b> it")
    alice.send(f"{address}/items", kind="paper", name="2307.09288", note="")
    alice.send("/collections/add", collection=address[len("/collections/"):], kind="dataset",
               name="acme/texts", note="")  # fmt: skip
    seen = site.browser().get(address).text
    assert names(seen) == ["acme/small", "acme/run", "arXiv:2307.09288", "acme/texts"]
    assert "that &lt;b&gt;made&lt;/b&gt; it" in seen and "round 5 of 8" not in seen  # one of 8
    assert "https://arxiv.org/abs/2307.09288" in seen and f"{address}/edit" not in seen
    assert "Small ones" in site.browser().get("/acme/small").text
    edit = alice.client.get(f"{address}/edit").text
    forms = items(edit)
    alice.send(forms["arXiv:2307.09288"], place="0")
    alice.send(forms["acme/run"], note="new note")
    alice.send(forms["acme/texts"] + "/remove")
    seen = site.browser().get(address).text
    assert names(seen) == ["arXiv:2307.09288", "acme/small", "acme/run"] and "new note" in seen
    alice.send(f"{address}", title="Other <i>", description="", private="1")
    assert site.browser().get(address).status_code == bob.client.get(address).status_code == 404
    assert "Other &lt;i&gt;" in alice.client.get(address).text
    alice.send(f"{address}/delete", 400)
    alice.send(f"{address}/delete", sure="1")
    assert alice.client.get(address).status_code == 404
    with site.hub.database.read() as connection:
        actions = connection.scalars(select(audit.c.action).order_by(audit.c.number)).all()
        assert repo_by_name(connection, "model", "acme/small") is not None
    assert [one for one in actions if one.startswith("collection")][-10:] == [
        "collection.create", *["collection.add"] * 4, *["collection.change-item"] * 2,
        "collection.remove-item", "collection.change", "collection.delete",
    ]  # fmt: skip


def test_others_change_nothing(site: Any, alice: Any, bob: Any) -> None:
    address = make(alice, "acme", "Ours", kind="model", name="acme/small")
    slug = address.removeprefix("/collections/")
    [item] = items(alice.client.get(f"{address}/edit").text).values()
    for path, data in {
        address: {"title": "Theirs"},
        f"{address}/delete": {"sure": "1"},
        f"{address}/items": {"kind": "run", "name": "acme/run"},
        item: {"note": "theirs"},
        f"{item}/remove": {},
        "/collections/add": {"collection": slug, "kind": "run", "name": "acme/run"},
    }.items():
        bob.send(path, 403, **data)
        assert site.browser().post(path, data=data).status_code == 401
        assert alice.client.post(path, data=data).status_code == 403  # without the token
    assert bob.client.get(f"{address}/edit").status_code == 403
    assert names(site.browser().get(address).text) == ["acme/small"]
    bob.send("/collections", 403, owner="acme", title="Theirs")


def test_what_one_may_not_see_is_left_out_and_kept_in_place(
    site: Any, alice: Any, bob: Any
) -> None:
    address = make(alice, "acme", "Mixed", kind="model", name="acme/small")
    for kind, name in (("model", "acme/secret"), ("model", "acme/gated"), ("run", "acme/run")):
        alice.send(f"{address}/items", kind=kind, name=name, note="")
    for browser in (site.browser(), bob.client):
        text = browser.get(address).text
        assert names(text) == ["acme/small", "acme/gated", "acme/run"] and "3 items" in text
        assert "secret" not in browser.get("/collections").text
    bob.send("/collections", 404, owner="bob", title="Mine", kind="model", name="acme/secret")
    assert "Mine" not in bob.client.get("/collections?owner=bob").text  # nothing half made


def test_the_form_comes_back_with_what_was_wrong(alice: Any) -> None:
    make(alice, "alice", "Once")
    again = alice.send("/collections", 409, owner="alice", title="Once", description="kept")
    assert 'value="Once"' in again.text and ">kept<" in again.text and 'role="alert"' in again.text
    alice.send("/collections", 400, owner="alice", title=" ")
    alice.send("/collections", 403, owner="bob", title="x")
    address = make(alice, "alice", "Twice", kind="model", name="acme/small")
    alice.send(f"{address}/items", 409, kind="model", name="ACME/small", note="")
    alice.send(f"{address}/items", 400, kind="thing", name="acme/small", note="")
    [item] = items(alice.client.get(f"{address}/edit").text).values()
    alice.send(item, 400, place="-1")
    alice.send(item, 400, note="x" * 501)
    alice.send(f"{item[:-1]}x", 404, note="x")
    assert alice.client.get("/collections/add?kind=thing&name=x").status_code == 400


def test_lists_are_of_an_owner_or_a_word_a_page_at_a_time(
    site: Any, alice: Any, bob: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmos.web.pages_collections.PAGE", 2)
    for number in range(3):
        make(alice, "alice", f"A {number}")
    make(bob, "bob", "B")
    make(bob, "bob", "Hidden", private="1")
    browser = site.browser()
    assert names(browser.get("/collections?owner=ALICE").text) == ["A 2", "A 1"]
    assert names(browser.get("/collections?owner=alice&start=2").text) == ["A 0"]
    assert names(browser.get("/collections?q=b&owner=bob").text) == ["B"]
    assert "Hidden" in bob.client.get("/collections?owner=bob").text
    assert browser.get("/collections?start=x").status_code == 400


def test_a_repository_stays_in_its_collections_when_it_moves_and_leaves_them_when_it_goes(
    site: Any, alice: Any
) -> None:
    address = make(alice, "acme", "Kept", kind="model", name="acme/small")
    slug = address.removeprefix("/collections/")
    caller = site.caller("alice")
    with site.hub.database.read() as connection:
        repo = repo_by_name(connection, "model", "acme/small")
    moved = move_repo(site.hub, caller, repo, "alice/Other")
    assert names(site.browser().get(address).text) == ["alice/Other"]
    delete_repo(site.hub, caller, moved)
    with site.hub.database.read() as connection:
        row = find_collection(connection, caller, slug)
        assert items_of(connection, [row.id])[row.id] == []


def test_a_collection_in_a_collection(site: Any, alice: Any) -> None:
    inner = make(alice, "alice", "Inner")
    outer = make(alice, "alice", "Outer", kind="collection", name=inner[len("/collections/") :])
    assert f'href="{inner}"' in site.browser().get(outer).text
    alice.send(f"{inner}/delete", sure="1")
    assert names(site.browser().get(outer).text) == []
    assert "Inner" not in alice.client.get(f"{outer}/edit").text
