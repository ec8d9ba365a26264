"""The API about repositories as a whole, as huggingface_hub asks it and as nobody should."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmos.hub.api.hf import listing

CREATE = "/api/repos/create"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, new_world: Callable[..., Any]) -> Iterator[Any]:
    """A hub in which nothing is made."""
    made = new_world(tmp_path_factory.mktemp("hub"))
    made.user("alice")
    made.org("acme", alice="admin")
    yield made
    made.hub.close()


def create(world: Any, user: str = "alice", **body: Any) -> Any:
    return world.ask("POST", CREATE, user, json={"name": "m", "organization": "acme", **body})


def test_a_second_making_tells_where_the_first_is(world: Any) -> None:
    made = create(world).json()
    assert made["url"] == "http://testserver/acme/m"
    again = create(world, name="M")
    assert again.status_code == 409
    assert again.json()["url"].lower() == made["url"]


def test_old_clients_say_private(world: Any) -> None:
    assert create(world, private=True, lfsmultipartthresh=1).status_code == 200
    assert world.ask("GET", "/api/models/acme/m", "alice").json()["private"] is True
    assert create(world, name="n", private=True, visibility="public").status_code == 200
    assert world.ask("GET", "/api/models/acme/n").json()["private"] is False


@pytest.mark.parametrize(
    "body",
    [
        {"name": None},
        {"name": 7},
        {"name": ""},
        {"name": "x" * 300},
        {"name": "\0"},
        {"name": "\ud800"},
        {"type": "kernel"},
        {"type": ["model"]},
        {"visibility": "protected"},
        {"private": "yes"},
        {"organization": 7},
        {"sharing": "secret"},
        {"type": "space"},
        {"type": "space", "sdk": "a\nb: c"},
        {"name": "tree"},
    ],
)
def test_bodies_that_make_no_sense_are_400(empty: Any, body: dict[str, Any]) -> None:
    text = {"name": "m", "organization": "acme", **body}
    answer = empty.ask("POST", CREATE, "alice", content=json.dumps(text))
    assert answer.status_code == 400, answer.text
    assert empty.ask("GET", "/api/models", "alice").json() == []


@pytest.mark.parametrize("kind", ["model", "dataset", "space", "run"])
def test_each_kind_has_its_own_names(world: Any, kind: str) -> None:
    create(world, type=kind, sdk="static")
    found = {
        word: [one["id"] for one in world.ask("GET", f"/api/{word}").json()]
        for word in ("models", "datasets", "spaces", "runs")
    }
    assert found == {word: ["acme/m"] * (word == f"{kind}s") for word in found}


def test_settings_change_what_others_see(world: Any) -> None:
    create(world)
    path = "/api/models/acme/m"

    def change(**body: Any) -> int:
        return int(world.ask("PUT", f"{path}/settings", "alice", json=body).status_code)

    assert change(gated="manual") == 200
    assert world.ask("GET", path, "bob").json()["gated"] == "manual"
    refused = world.ask("GET", f"{path}/auth-check", "bob")
    assert (refused.status_code, refused.headers["x-error-code"]) == (403, "GatedRepo")
    assert change(gated=False) == 200
    assert world.ask("GET", path, "bob").json()["gated"] is False
    assert change(sharing="metadata") == 200
    told = world.ask("GET", path, "bob").json()
    assert (told["sharing"], told["siblings"]) == ("metadata", [])
    assert world.ask("GET", path, "alice").json()["siblings"] != []
    assert world.ask("GET", "/api/models?full=true", "bob").json()[0]["siblings"] == []
    assert change(visibility="private") == 200
    assert world.ask("GET", path, "bob").status_code == 404
    for body in ({}, {"gated": True}, {"gated": "x"}, {"visibility": "x"}, {"private": 1}):
        assert change(**body) == 400, body


def test_private_repositories_are_in_no_list_and_no_count(world: Any) -> None:
    create(world, private=True)
    create(world, name="open")
    for name in ("m", "open"):
        assert world.ask("POST", f"/api/models/acme/{name}/like", "alice").status_code == 200
    for user, number in (("alice", 2), ("bob", 1), (None, 1)):
        assert len(world.ask("GET", "/api/models", user).json()) == number
        assert len(world.ask("GET", "/api/models?search=acme", user).json()) == number
        told = world.ask("GET", "/api/organizations/acme/overview", user).json()
        assert told["numModels"] == number
        assert len(world.ask("GET", "/api/users/alice/likes", user).json()) == number
        assert world.ask("GET", "/api/users/alice/overview", user).json()["numLikes"] == number


def test_the_list_follows_its_link(world: Any) -> None:
    names = [f"m{number}" for number in range(7)]
    for name in names:
        create(world, name=name)
    found, path = [], "/api/models?limit=3&sort=createdAt&filter="
    while path:
        answer = world.ask("GET", path)
        found += [one["id"] for one in answer.json()]
        link = answer.headers.get("link", "")
        path = link[1:].partition(">")[0].removeprefix("http://testserver")
    assert found == [f"acme/{name}" for name in reversed(names)]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=x",
        "limit=-1",
        "sort=x",
        "cursor=x",
        "expand=x",
        "num_parameters=x",
        "search=%00",
        "search=" + "a+" * 30,
        "filter=" + ",".join(map(str, range(30))),
    ],
)
def test_queries_that_make_no_sense_are_400(empty: Any, query: str) -> None:
    assert empty.ask("GET", f"/api/models?{query}").status_code == 400


@pytest.mark.parametrize("query", ["limit=" + "9" * 11, "filter=%ff", "author=%F0"])
def test_odd_queries_are_answered(empty: Any, query: str) -> None:
    assert empty.ask("GET", f"/api/models?{query}").status_code == 200


def test_expand_tells_what_is_asked_and_nothing_else(world: Any) -> None:
    create(world)
    told = world.ask("GET", "/api/models/acme/m?expand=author&expand[]=cardData,sha").json()
    assert set(told) == {"_id", "id", "modelId", "author", "cardData", "sha"}
    refused = world.ask("GET", "/api/datasets?expand=author&expand=pipeline_tag")
    assert refused.status_code == 400
    assert 'expected one of "author"|' in refused.json()["error"]
    assert "at expand[1]" in refused.json()["error"]


def test_a_page_ends_before_it_is_too_large(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        create(world, name=name)
    monkeypatch.setattr(listing, "PAGE_BYTES", 10)
    found, path = [], "/api/models?full=true"
    while path:
        answer = world.ask("GET", path)
        assert len(answer.json()) == 1
        found += [one["id"] for one in answer.json()]
        link = answer.headers.get("link", "")
        path = link[1:].partition(">")[0].removeprefix("http://testserver")
    assert found == ["acme/c", "acme/b", "acme/a"]


def test_what_a_token_says_of_its_owner(world: Any) -> None:
    told = world.ask("GET", "/api/whoami-v2", "alice").json()
    assert (told["type"], told["name"], told["auth"]["accessToken"]["role"]) == (
        "user",
        "alice",
        "write",
    )
    assert [(org["name"], org["roleInOrg"]) for org in told["orgs"]] == [("acme", "admin")]
    assert world.ask("GET", "/api/whoami-v2").status_code == 401


def test_members_are_told_page_by_page(world: Any) -> None:
    world.org("team", alice="admin", bob="reader", root="maintainer")
    found, path = [], "/api/organizations/team/members?limit=1"
    while path:
        answer = world.ask("GET", path)
        found += [one["user"] for one in answer.json()]
        link = answer.headers.get("link", "")
        path = link[1:].partition(">")[0].removeprefix("http://testserver")
    assert sorted(found) == ["alice", "bob", "root"]
    for path in ("organizations/alice/members", "users/acme/overview", "users/nobody/likes"):
        assert world.ask("GET", f"/api/{path}").status_code == 404


def test_emails_are_for_their_owner_alone(world: Any) -> None:
    world.user("carla", email="carla@example.org")
    assert world.ask("GET", "/api/whoami-v2", "carla").json()["email"] == "carla@example.org"
    assert "example.org" not in world.ask("GET", "/api/users/carla/overview", "alice").text


@pytest.mark.parametrize(
    ("content", "errors", "warnings"),
    [
        ("---\nlicense: mit\n---\n", 0, 0),
        ("---\nlicense: MIT AND CC-BY-4.0\n---\n", 0, 0),
        ("---\nlicense: [mit, llama3.1, other]\n---\n", 0, 0),
        ("---\nlicense: asdf\n---\n", 1, 0),
        ("---\nmodel-index: foo\n---\n", 1, 0),
        ("---\nmodel-index: [{name: x}]\n---\n", 1, 0),
        ("---\nmodel-index: [{name: x, results: []}]\n---\n", 0, 0),
        ("---\ntags: {a: b}\n---\n", 1, 0),
        ("---\na: [\n---\n", 1, 0),
        ("---\na: " + "[" * 100_000 + "\n---\n", 1, 0),
        ("no head", 0, 1),
        ("", 0, 1),
    ],
)
def test_cards_are_checked(empty: Any, content: str, errors: int, warnings: int) -> None:
    answer = empty.ask("POST", "/api/validate-yaml", json={"content": content, "repoType": "model"})
    assert answer.status_code == (400 if errors else 200)
    told = answer.json()
    assert (len(told["errors"]), len(told["warnings"])) == (errors, warnings), told


def test_licences_to_filter_by_are_those_of_spdx_and_more(empty: Any) -> None:
    told = empty.ask("GET", "/api/models-tags-by-type").json()["license"]
    names = {one["label"] for one in told}
    assert {"mit", "apache-2.0", "cc-by-4.0", "llama3.1", "gemma", "eupl-1.2"} <= names
    assert len(names) > 600
