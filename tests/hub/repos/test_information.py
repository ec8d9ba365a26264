"""File lists and what is wrong with files, against the tree itself."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from sqlalchemy import select, update

from llmos.hub.database.tables import blobs, commits, repos
from llmos.hub.git import trees, versions
from llmos.hub.git.objects import blob_id, pointer
from llmos.hub.repos import information, making


@pytest.fixture
def repo(world: Any, caller: Any) -> Any:
    """A repository of 500 files in nested folders, every third one large."""
    made = making.make_repo(world.hub, caller("alice"), "dataset", "acme/d")
    added = {}
    for number in range(500):
        sha256, size = f"{number:064x}", number * 7
        large = number % 3 == 0
        oid = blob_id(pointer(sha256, size)) if large else f"{number:040x}"
        path = f"a{number % 5}/b{number % 3}/{number:03}.txt" if number % 7 else f"{number:03}"
        added[path] = trees.Entry("lfs" if large else "file", oid, size, sha256)
    with world.hub.database.write() as connection:
        root = trees.changed(connection, None, added)
        oid = versions.save_commit(connection, made.id, root, [made.head], "alice", "many")
        versions.move_ref(connection, made.id, versions.MAIN, made.head, oid)
        same = update(repos).where(repos.c.id == made.id)
        row = connection.execute(same.values(head=oid).returning(*repos.c)).one()
    return row, added


@pytest.mark.parametrize("kept_from", [1, 10_000])
def test_siblings_are_the_files_of_the_tree(
    world: Any, repo: Any, monkeypatch: pytest.MonkeyPatch, kept_from: int
) -> None:
    monkeypatch.setattr(information, "LARGE_LIST", kept_from)
    _, added = repo
    for _ in range(2):  # the second time a large list is not made anew
        plain = world.ask("GET", "/api/datasets/acme/d").json()["siblings"]
        assert sorted(file["rfilename"] for file in plain) == sorted(added)
        for file in world.ask("GET", "/api/datasets/acme/d?blobs=true").json()["siblings"]:
            entry = added[file["rfilename"]]
            expected = {"rfilename": file["rfilename"], "size": entry.size, "blobId": entry.oid}
            if entry.lfs:
                length = len(pointer(entry.key, entry.size))
                about = {"sha256": entry.key, "size": entry.size, "pointerSize": length}
                expected["lfs"] = about
            assert file == expected


def test_a_large_list_is_made_once(world: Any, repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(information, "LARGE_LIST", 1)
    row, _ = repo
    with world.hub.database.read() as connection:
        root = versions.resolve(connection, row.id, row.head).tree
        first = orjson.dumps(information.files_json(connection, root, True))
        monkeypatch.setattr(trees, "walk", lambda *_, **__: pytest.fail("walked again"))
        assert orjson.dumps(information.files_json(connection, root, True)) == first


def test_an_older_revision_has_its_own_files(world: Any, repo: Any) -> None:
    row, _ = repo
    with world.hub.database.read() as connection:
        same = (commits.c.repo_id == row.id) & (commits.c.oid != row.head)
        first = connection.execute(select(commits.c.oid).where(same)).scalar_one()
    told = world.ask("GET", f"/api/datasets/acme/d/revision/{first[:9]}").json()
    assert told["sha"] == first
    assert [file["rfilename"] for file in told["siblings"]] == [".gitattributes"]
    missing = world.ask("GET", "/api/datasets/acme/d/revision/none")
    assert (missing.status_code, missing.headers["x-error-code"]) == (404, "RevisionNotFound")


def test_files_that_are_not_good_are_named(world: Any, caller: Any, commit: Any) -> None:
    made = making.make_repo(world.hub, caller("alice"), "model", "acme/m")
    commit(made, {"good.txt": b"good", "a/bad.txt": b"bad"})
    path = "/api/models/acme/m?securityStatus=true"
    assert world.ask("GET", path).json()["securityRepoStatus"]["filesWithIssues"] == []
    with world.hub.database.write() as connection:
        connection.execute(update(blobs).where(blobs.c.size == 3).values(state="quarantined"))
    issues = world.ask("GET", path).json()["securityRepoStatus"]["filesWithIssues"]
    assert issues == [{"path": "a/bad.txt", "level": "unsafe"}]
    assert "securityRepoStatus" not in world.ask("GET", "/api/models/acme/m").json()
