"""Collections, through huggingface_hub and by hand."""

from __future__ import annotations

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError

ALL = "/api/collections"


@pytest.fixture(autouse=True)
def online(monkeypatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def apis(world, live: str) -> tuple[HfApi, HfApi]:
    """alice's and bob's clients."""
    made = (HfApi(endpoint=live, token=world.tokens[name]) for name in ("alice", "bob"))
    return tuple(made)


def test_a_collection_from_start_to_end(world, live: str, apis) -> None:
    alice, bob = apis
    alice.create_repo("alice/thing")
    alice.create_repo("acme/data", repo_type="dataset", private=True)
    made = alice.create_collection("Über  small Models!", description="All of them")
    assert made.slug.startswith("alice/uber-small-models-")
    assert made.url == f"{live}/collections/{made.slug}"
    slug = made.slug
    alice.add_collection_item(slug, "alice/thing", "model", note="the <best>")
    alice.add_collection_item(slug, "acme/data", "dataset")
    alice.add_collection_item(slug, "2307.09288", "paper")
    with pytest.raises(HfHubHTTPError, match="409"):
        alice.add_collection_item(slug, "ALICE/thing", "model")
    alice.add_collection_item(slug, "alice/thing", "model", exists_ok=True)
    items = alice.get_collection(slug).items
    assert [item.item_id for item in items] == ["alice/thing", "acme/data", "2307.09288"]
    assert [item.note for item in items] == ["the <best>", None, None]
    seen = bob.get_collection(slug).items  # the private data set is left out
    assert [item.item_id for item in seen] == ["alice/thing", "2307.09288"]
    alice.update_collection_item(slug, items[2].item_object_id, position=0, note="first")
    alice.delete_collection_item(slug, items[0].item_object_id)
    alice.delete_collection_item(slug, items[0].item_object_id, missing_ok=True)
    left = [(item.item_id, item.note) for item in alice.get_collection(slug).items]
    assert left == [("2307.09288", "first"), ("acme/data", None)]
    renamed = alice.update_collection_metadata(slug, title="New", private=True, theme="pink")
    assert renamed.slug == f"alice/new-{slug.rpartition('-')[2]}"
    assert alice.get_collection(slug).slug == renamed.slug
    with pytest.raises(HfHubHTTPError, match="404"):
        bob.get_collection(slug)
    alice.delete_collection(slug)
    alice.delete_collection(slug, missing_ok=True)


def test_the_same_title_leads_to_the_one_that_is_there(apis) -> None:
    alice, _ = apis
    first = alice.create_collection("Same", description="first")
    with pytest.raises(HfHubHTTPError, match="409"):
        alice.create_collection("Same")
    again = alice.create_collection("Same", description="second", exists_ok=True)
    assert (again.slug, again.description) == (first.slug, "first")
    assert alice.create_collection("Same", namespace="acme").slug.startswith("acme/same-")


def test_lists_are_filtered_and_come_in_pages(world, apis) -> None:
    alice, bob = apis
    alice.create_repo("alice/thing")
    for number in range(5):
        made = alice.create_collection(f"Number {number}", private=number == 4)
        alice.add_collection_item(made.slug, "alice/thing", "model") if number % 2 else None
    bob.create_collection("Bob's")
    assert len(list(bob.list_collections())) == 5
    assert len(list(alice.list_collections(owner="alice"))) == 5
    assert len(list(alice.list_collections(owner=["alice", "bob"]))) == 6
    with_it = bob.list_collections(item="models/alice/thing")
    assert sorted(one.title for one in with_it) == ["Number 1", "Number 3"]
    assert [one.title for one in bob.list_collections(limit=2, owner="alice")] == [
        "Number 3",
        "Number 2",
    ]
    answer = world.ask("GET", f"{ALL}?limit=2&owner=alice&q=NUMBER")
    titles = [one["title"] for one in answer.json()]
    path = answer.links["next"]["url"].removeprefix("http://testserver")
    rest = world.ask("GET", path)
    assert "next" not in rest.links
    assert sorted(titles + [one["title"] for one in rest.json()]) == [
        f"Number {n}" for n in range(4)
    ]
    assert world.ask("GET", f"{ALL}?q=%25").json() == []
    for query in ("sort=odd", "item=thing", "limit=-1", "limit=x"):
        assert world.ask("GET", f"{ALL}?{query}").status_code == 400


def test_collections_within_collections(world, apis) -> None:
    alice, bob = apis
    inner = alice.create_collection("Inner")
    outer = alice.create_collection("Outer")
    alice.add_collection_item(outer.slug, inner.slug, "collection")
    with pytest.raises(HfHubHTTPError, match="itself"):
        alice.add_collection_item(outer.slug, outer.slug, "collection")
    assert [one.item_id for one in bob.get_collection(outer.slug).items] == [inner.slug]
    alice.update_collection_metadata(inner.slug, private=True)
    assert bob.get_collection(outer.slug).items == []
    alice.delete_collection(inner.slug)
    assert alice.get_collection(outer.slug).items == []


def test_who_may_change_them(world, apis) -> None:
    alice, _ = apis
    for user, role in (("carol", "reader"), ("dora", "maintainer")):
        world.user(user)
        world.org(f"other-{role}", alice="admin", **{user: role})
    for org, user, status in (
        ("other-reader", "carol", 403),
        ("other-maintainer", "dora", 200),
        ("other-reader", "bob", 403),
        ("nothing", "alice", 403),
    ):
        body = {"title": "T", "namespace": org}
        assert world.ask("POST", ALL, user, json=body).status_code == status
    made = alice.create_collection("Hidden", namespace="other-reader", private=True).slug
    assert world.ask("GET", f"{ALL}/{made}", "carol").status_code == 200
    assert world.ask("GET", f"{ALL}/{made}").status_code == 404
    for method, path, body in (
        ("PATCH", "", {"title": "Mine"}),
        ("DELETE", "", None),
        ("POST", "/items", {"item": {"type": "paper", "id": "2307.09288"}}),
        ("POST", "/items/batch", []),
    ):
        for user, status in ((None, 401), ("bob", 404), ("carol", 403)):
            if path == "/items/batch" and user != None:  # noqa: E711 - nothing asked, nothing done
                continue
            answer = world.ask(method, f"{ALL}/{made}{path}", user, json=body)
            assert answer.status_code == status, (method, path, user)


def test_several_items_at_once_are_all_changed_or_none(world, apis) -> None:
    alice, _ = apis
    slug = alice.create_collection("Many").slug
    for number in range(3):
        alice.add_collection_item(slug, f"2307.0000{number}", "paper")
    ids = [item.item_object_id for item in alice.get_collection(slug).items]
    path = f"{ALL}/{slug}/items/batch"
    changes = [{"_id": ids[0], "data": {"position": 2}}, {"_id": ids[2], "data": {"note": "n"}}]
    assert world.ask("POST", path, "alice", json=changes).status_code == 200
    items = alice.get_collection(slug).items
    assert [item.item_object_id for item in items] == [ids[1], ids[2], ids[0]]
    assert items[1].note == "n"
    wrong = [{"_id": ids[0], "data": {"note": "lost"}}, {"_id": "0" * 24, "data": {}}]
    assert world.ask("POST", path, "alice", json=wrong).status_code == 404
    assert alice.get_collection(slug).items[2].note is None
    for body in ({}, [1], [{"data": {}}], "x"):
        assert world.ask("POST", path, "alice", json=body).status_code == 400


def test_what_makes_no_sense_is_refused(world, apis) -> None:
    alice, _ = apis
    slug = alice.create_collection("T").slug
    one = f"{ALL}/{slug}"
    for method, path, body, status in (
        ("POST", ALL, {"title": " "}, 400),
        ("POST", ALL, {"title": "x" * 201}, 400),
        ("POST", ALL, {"title": "Y", "description": "x" * 1001}, 400),
        ("POST", ALL, {"title": "Y", "private": "perhaps"}, 400),
        ("POST", ALL, {"title": "Y", "item": {"id": "alice/none", "type": "model"}}, 404),
        ("PATCH", one, {"theme": "black"}, 400),
        ("PATCH", one, {"position": -1}, 400),
        ("POST", f"{one}/items", {"item": {"id": "x", "type": "odd"}}, 400),
        ("POST", f"{one}/items", {"item": {"id": "x/y", "type": "model"}}, 404),
        ("POST", f"{one}/items", {"item": {"id": "../x", "type": "paper"}}, 404),
        ("PATCH", f"{one}/items/none", {"note": "x"}, 404),
        ("GET", f"{ALL}/alice/nothing", None, 404),
        ("GET", f"{ALL}/alice/%20", None, 404),
    ):
        answer = world.ask(method, path, "alice", json=body)
        assert answer.status_code == status, (method, path, body, answer.text)
    assert [one["title"] for one in world.ask("GET", f"{ALL}?owner=alice").json()] == ["T"]
