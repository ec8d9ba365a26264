"""What a revision holds, as the real client reads it."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from huggingface_hub import HfApi, HfFileSystem, constants
from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError

from llmos.hub.database.tables import blobs
from llmos.hub.git import trees
from llmos.hub.repos import changes, making
from llmos.hub.repos.content import keep_bytes


@pytest.fixture
def repo(world, alice):
    return making.make_repo(world.hub, alice, "model", "alice/small")


def put(world, alice, repo, title: str = "put", **content: bytes) -> str:
    added = {path: keep_bytes(world.hub, data) for path, data in content.items()}
    return changes.commit(world.hub, alice, repo, "main", changes.Changes(title, added=added))


@pytest.fixture
def api(live: str, world, monkeypatch) -> HfApi:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return HfApi(endpoint=live, token=world.tokens["alice"])


def test_a_folder_and_what_is_below_it(api: HfApi, world, alice, repo) -> None:
    first = put(world, alice, repo, "first", **{"a.txt": b"1", "f/x.txt": b"22", "f/g/y": b"3"})
    put(world, alice, repo, "second", **{"f/x.txt": b"333"})
    everything = list(api.list_repo_tree("alice/small", recursive=True))
    assert [one.path for one in everything] == [
        ".gitattributes",
        "a.txt",
        "f",
        "f/g",
        "f/g/y",
        "f/x.txt",
    ]
    assert [one.path for one in api.list_repo_tree("alice/small", "f")] == ["f/g", "f/x.txt"]
    assert [one.path for one in api.list_repo_tree("alice/small", "f", recursive=True)] == [
        "f/g",
        "f/g/y",
        "f/x.txt",
    ]
    by_path = {
        one.path: one for one in api.list_repo_tree("alice/small", recursive=True, expand=True)
    }
    titles = {path: one.last_commit.title for path, one in by_path.items()}
    assert titles == {
        ".gitattributes": "initial commit",
        "a.txt": "first",
        "f": "second",
        "f/g": "first",
        "f/g/y": "first",
        "f/x.txt": "second",
    }
    assert by_path["a.txt"].security["safe"] is True
    old = api.get_paths_info("alice/small", ["f/x.txt", "f", "none"], revision=first, expand=True)
    assert [(one.path, one.last_commit.oid) for one in old] == [("f/x.txt", first), ("f", first)]
    assert old[0].size == 2
    for path in ("none", "a.txt", "f/none"):
        with pytest.raises(EntryNotFoundError):
            list(api.list_repo_tree("alice/small", path))
    with pytest.raises(RevisionNotFoundError):
        list(api.list_repo_tree("alice/small", revision="none"))


def test_pages_hold_everything_once(world, alice, repo, monkeypatch) -> None:
    monkeypatch.setattr(trees.pieces, "WHOLE", 8)
    monkeypatch.setattr(trees.pieces, "BITS", 2)
    names = {f"{number:03d}{'/x' * (number % 3)}": b"x" for number in range(60)}
    put(world, alice, repo, **names, **{"é ü+&.txt": b"x"})
    for query in ("recursive=true", "", "recursive=true&expand=true"):
        whole = world.ask("GET", f"/api/models/alice/small/tree/main?{query}&limit=999").json()
        pages, path = [], f"/api/models/alice/small/tree/main?{query}&limit=7"
        while path:
            answer = world.ask("GET", path)
            assert len(answer.json()) <= 7
            pages += answer.json()
            link = answer.headers.get("link", "")
            path = link[link.index("/api") : link.index(">")] if link else ""
        assert [one["path"] for one in pages] == [one["path"] for one in world_all(world, query)]
        assert len(whole) == (50 if "expand" in query else len(pages))


def world_all(world, query: str) -> list[dict[str, object]]:
    plain = query.replace("&expand=true", "")
    return world.ask("GET", f"/api/models/alice/small/tree/main?{plain}").json()


def test_paths_info_takes_a_form_and_json(world, alice, repo) -> None:
    commit = put(world, alice, repo, **{"a": b"1"})
    path = f"/api/models/alice/small/paths-info/{commit}"
    form = world.ask("POST", path, data={"paths": ["a", "none", "a/"], "expand": "false"})
    sent = world.ask("POST", path, json={"paths": ["a", "none"]})
    assert form.json() == sent.json() and [one["path"] for one in form.json()] == ["a"]
    assert form.headers["x-repo-commit"] == commit
    assert world.ask("POST", path, json={"paths": "a"}).status_code == 400
    assert world.ask("POST", path, json={"paths": ["a"] * 1001}).status_code == 413
    assert world.ask("POST", path, content=b"\xff").json() == []


def test_a_missing_folder_tells_the_commit(world, alice, repo) -> None:
    commit = put(world, alice, repo, a=b"1")
    for path in ("none", "a/b", quote("../../etc", safe="")):
        answer = world.ask("GET", f"/api/models/alice/small/tree/main/{path}")
        assert answer.status_code == 404
        assert answer.headers["x-error-code"] == "EntryNotFound"
        assert answer.headers["x-repo-commit"] == commit


def test_danger_and_damage_are_told(world, alice, repo) -> None:
    put(world, alice, repo, **{"good": b"1", "bad": b"2", "broken": b"3"})
    with world.hub.database.write() as connection:
        for path, state in (("bad", "quarantined"), ("broken", "damaged")):
            key = keep_bytes(world.hub, b"2" if path == "bad" else b"3").key
            same = blobs.update().where(blobs.c.sha256 == key)
            connection.execute(same.values(state=state, reason="it runs os.system"))
    found = world.ask("GET", "/api/models/alice/small/tree/main?expand=true").json()
    status = {one["path"]: one["securityFileStatus"]["status"] for one in found}
    assert status == {
        ".gitattributes": "safe",
        "good": "safe",
        "bad": "unsafe",
        "broken": "error",
    }


def test_the_file_system_reads_writes_and_removes(api: HfApi, live: str, world) -> None:
    api.create_repo("alice/data", repo_type="dataset")
    system = HfFileSystem(endpoint=live, token=world.tokens["alice"], skip_instance_cache=True)
    root = "datasets/alice/data"
    with system.open(f"{root}/f/a.txt", "w") as file:
        file.write("one\ntwo\n")
    with system.open(f"{root}/f/b.txt", "wb") as file:
        file.write(b"x" * 100_000)
    assert system.ls(f"{root}/f", detail=False) == [f"{root}/f/a.txt", f"{root}/f/b.txt"]
    assert system.glob(f"{root}/**/*.txt") == [f"{root}/f/a.txt", f"{root}/f/b.txt"]
    assert system.read_text(f"{root}/f/a.txt") == "one\ntwo\n"
    with system.open(f"{root}/f/b.txt", block_size=10_000) as file:
        file.seek(-5, 2)
        assert file.read() == b"xxxxx"
    assert system.cat_file(f"{root}/f/b.txt", start=10, end=20) == b"x" * 10
    system.rm(f"{root}/f/a.txt")
    assert not system.exists(f"{root}/f/a.txt")
    system.rm(f"{root}/f", recursive=True)
    assert system.ls(root, detail=False) == [f"{root}/.gitattributes"]
