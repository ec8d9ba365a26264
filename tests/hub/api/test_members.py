"""Members listed and shown, with what they have contributed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmos.hub.database.tables import accounts

if TYPE_CHECKING:
    from tests.hub.conftest import World


@pytest.fixture
def people(world: World) -> World:
    world.user("chen", country="CN", languages=["zh-Hans", "en"], full_name="Chen Li")
    world.user("dora_x", country="DE", languages=["de"])
    with world.hub.database.write() as connection:
        gone = accounts.c.name == "bob"
        connection.execute(accounts.update().where(gone).values(disabled_at=1))
    return world


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["acme", "alice", "chen", "dora_x", "root"]),
        ({"country": "cn"}, ["chen"]),
        ({"language": "zh"}, ["chen"]),
        ({"language": "z"}, []),
        ({"kind": "org"}, ["acme"]),
        ({"search": "LI"}, ["alice", "chen"]),
        ({"search": "a_x"}, ["dora_x"]),
        ({"search": "%"}, []),
    ],
)
def test_members_are_found(people: World, query: dict[str, str], names: list[str]) -> None:
    found = people.ask("GET", "/api/members", params=query).json()
    assert [one["name"] for one in found] == names
    assert all("email" not in one for one in found)


def test_pages_follow_one_another(people: World) -> None:
    first = people.ask("GET", "/api/members?limit=2")
    assert [one["name"] for one in first.json()] == ["acme", "alice"]
    address = first.headers["link"].split(">")[0].removeprefix("<").split("/api", 1)[1]
    rest = people.ask("GET", f"/api{address}")
    assert [one["name"] for one in rest.json()] == ["chen", "dora_x"]


def test_one_member(people: World) -> None:
    shown = people.ask("GET", "/api/members/Chen").json()
    assert (shown["name"], shown["country"], shown["languages"]) == (
        "chen",
        "CN",
        ["zh-Hans", "en"],
    )
    assert shown["contributions"] == dict.fromkeys(
        ("runs", "tokens", "runs_owned", "models", "datasets", "spaces"), 0
    )
    assert people.ask("GET", "/api/members/bob").status_code == 404
    assert people.ask("GET", "/api/members/nobody").status_code == 404
    assert people.ask("GET", "/api/members?kind=robot").status_code == 400
