"""Lineage in both directions, and licences held against each other along it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from llmos.hub.accounts.rights import Caller, account_row, roles_of
from llmos.hub.database.tables import run_members, runs
from llmos.hub.repos import changes, content, edits, making
from llmos.hub.runs.licences import NOT_HERE, NOT_STATED
from llmos.storage import sha256_hex

if TYPE_CHECKING:
    from tests.hub.conftest import World


def make(world: World, kind: str, name: str, head: str, **more: Any) -> Any:
    with world.hub.database.read() as connection:
        row = account_row(connection, "alice")
        assert row is not None
        alice = Caller(id=row.id, name="alice", scope="write", roles=roles_of(connection, row.id))
    repo = making.make_repo(world.hub, alice, kind, name, **more)
    text = f"---\n{head}\n---\n\n# {name}\n".encode()
    card = edits.Changes("card", added={"README.md": content.keep_bytes(world.hub, text)})
    changes.commit(world.hub, alice, repo, "main", card)
    return repo


def lineage(world: World, kind: str, name: str, user: str | None = None, **query: Any) -> Any:
    answer = world.ask("GET", f"/api/{kind}/{name}/lineage", user, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def pairs(found: Any) -> set[tuple[str, str]]:
    return {(edge["source"], edge["target"]) for edge in found["edges"]}


@pytest.fixture
def family(world: World) -> World:
    """text -> base -> tuned -> again; tuned also from a data set that is not here."""
    make(world, "dataset", "acme/text", "license: cc-by-4.0")
    make(world, "model", "acme/base", "license: apache-2.0\ndatasets: [acme/text]")
    make(
        world,
        "model",
        "acme/tuned",
        "license: mit\nbase_model: ACME/Base\ndatasets: [far/away]",
    )
    make(world, "model", "acme/again", "license: mit\nbase_model: acme/tuned")
    return world


def test_both_directions_of_any_depth(family: World) -> None:
    whole = {
        ("dataset:acme/text", "model:acme/base"),
        ("model:acme/base", "model:acme/tuned"),
        ("dataset:far/away", "model:acme/tuned"),
        ("model:acme/tuned", "model:acme/again"),
    }
    assert pairs(lineage(family, "models", "acme/tuned")) == whole
    down = lineage(family, "datasets", "acme/text")
    assert pairs(down) == whole - {("dataset:far/away", "model:acme/tuned")}
    near = lineage(family, "datasets", "acme/text", depth=1)
    assert pairs(near) == {("dataset:acme/text", "model:acme/base")} and near["cut"]
    away = {node["name"]: node["here"] for node in lineage(family, "models", "acme/tuned")["nodes"]}
    assert away["far/away"] is False and away["acme/base"] is True


def test_a_circle_ends(world: World) -> None:
    make(world, "model", "acme/a", "base_model: acme/b")
    make(world, "model", "acme/b", "base_model: [acme/a, acme/b]")
    found = lineage(world, "models", "acme/a", depth=10)
    assert ("model:acme/b", "model:acme/a") in pairs(found) and len(found["nodes"]) == 2


def test_private_ones_are_left_out(family: World) -> None:
    make(family, "model", "acme/hidden", "base_model: acme/base\nlicense: mit", private=True)
    make(family, "dataset", "acme/inner", "license: mit", private=True)
    make(family, "model", "acme/open", "datasets: [acme/inner]\nlicense: mit")
    for user in (None, "bob"):
        names = {node["name"] for node in lineage(family, "models", "acme/base", user)["nodes"]}
        assert "acme/hidden" not in names
        nodes = lineage(family, "models", "acme/open", user)["nodes"]
        seen = {node["name"]: node["here"] for node in nodes}
        assert seen["acme/inner"] is False  # as the card says, and no more
    names = {node["name"] for node in lineage(family, "models", "acme/base", "alice")["nodes"]}
    assert "acme/hidden" in names


def test_a_model_that_moved_keeps_its_descendants(family: World) -> None:
    body = {"fromRepo": "acme/base", "toRepo": "acme/root", "type": "model"}
    assert family.ask("POST", "/api/repos/move", "alice", json=body).status_code == 200
    found = lineage(family, "models", "acme/root")
    assert ("model:acme/root", "model:acme/tuned") in pairs(found)


def licences(world: World, name: str, user: str | None = None) -> Any:
    answer = world.ask("GET", f"/api/models/{name}/licences", user)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_unknown_is_said(family: World) -> None:
    report = licences(family, "acme/tuned")
    notes = {source["name"]: source["note"] for source in report["sources"]}
    assert notes == {"acme/base": "", "acme/text": "", "far/away": NOT_HERE}
    assert report["verdict"] == "unknown" and report["conflicts"] == []
    asked = {source["name"]: source["obligations"] for source in report["sources"]}
    assert asked["acme/text"] == ["credit the authors"]


@pytest.mark.parametrize(
    ("source", "model", "says"),
    [
        ("cc-by-nc-4.0", "mit", "not for commercial use"),
        ("cc-by-sa-4.0", "apache-2.0", "same licence"),
        ("cc-by-nd-4.0", "cc-by-4.0", "changed forms"),
        ("cc-by-4.0", "cc0-1.0", "credit"),
        ("cc-by-sa-4.0", "cc-by-sa-4.0", ""),
        ("cc0-1.0", "mit", ""),
        ("apache-2.0 OR gpl-3.0-only", "mit", ""),
    ],
)
def test_conflicts_are_found_in_words(world: World, source: str, model: str, says: str) -> None:
    make(world, "dataset", "acme/d", f"license: {source}")
    make(world, "model", "acme/m", f"license: {model}\ndatasets: acme/d")
    report = licences(world, "acme/m")
    assert report["verdict"] == ("conflict" if says else "compatible")
    assert all(says in conflict for conflict in report["conflicts"])
    assert bool(report["conflicts"]) == bool(says)


def test_no_licence_is_unknown_and_a_private_source_tells_nothing(world: World) -> None:
    make(world, "dataset", "acme/inner", "license: cc-by-nc-4.0", private=True)
    make(world, "model", "acme/m", "datasets: acme/inner")
    report = licences(world, "acme/m")
    assert report["note"] == NOT_STATED and report["verdict"] == "unknown"
    assert [(s["licence"], s["note"]) for s in report["sources"]] == [("", NOT_HERE)]
    seen = licences(world, "acme/m", "alice")["sources"]
    assert [s["licence"] for s in seen] == ["CC-BY-NC-4.0"]


def test_data_sets_lead_to_the_runs_whose_ledgers_name_their_cards(world: World) -> None:
    data = {"card.json": b'{"b": 1,\n "a": 2}'}
    make(world, "dataset", "acme/d", "license: cc0-1.0", files=data, sharing="federated")
    run = make(world, "run", "acme/r", "tags: llmos")
    make(world, "model", "acme/m", "license: mit")
    card = {"data_card_sha256": sha256_hex(b'{"a":2,"b":1}'), "licence": "CC-BY-NC-4.0"}
    with world.hub.database.write() as connection:
        own = {"repo_id": run.id, "updated_at": 0, "model": "Acme/M"}
        connection.execute(runs.insert(), own)
        member = {"repo_id": run.id, "name": "north", "card": card}
        connection.execute(run_members.insert(), member)
    whole = {("dataset:acme/d", "run:acme/r"), ("run:acme/r", "model:acme/m")}
    for kind, name in (("datasets", "acme/d"), ("runs", "acme/r"), ("models", "acme/m")):
        assert pairs(lineage(world, kind, name)) == whole
    report = licences(world, "acme/m")
    judged = {source["name"]: bool(source["conflicts"]) for source in report["sources"]}
    assert judged == {"acme/d": False, "north (acme/r)": True}
