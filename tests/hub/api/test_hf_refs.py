"""Branches, tags, squashed histories and large files deleted for good."""

from __future__ import annotations

import io
import json

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RevisionNotFoundError

from llmos.hub.database.tables import repo_blobs
from llmos.hub.database.tables import repos as table
from llmos.hub.git import trees, versions
from llmos.hub.repos import changes, content, making
from llmos.hub.repos.content import keep_bytes
from llmos.hub.storage.staging import staged_bytes


@pytest.fixture
def repo(world, alice):
    return making.make_repo(world.hub, alice, "model", "alice/small")


@pytest.fixture
def api(live: str, world, repo, monkeypatch) -> HfApi:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return HfApi(endpoint=live, token=world.tokens["alice"])


def put(world, alice, repo, revision: str = "main", **files: bytes) -> str:
    added = {path: keep_bytes(world.hub, data) for path, data in files.items()}
    return changes.commit(world.hub, alice, repo, revision, changes.Changes("put", added=added))


def put_large(world, alice, repo, path: str, data: bytes, revision: str = "main") -> str:
    with staged_bytes(world.hub.settings.temporary, [data]) as staged:
        content.keep_upload(world.hub, repo.id, staged)
        with world.hub.database.read() as connection:
            entry = content.large_entry(connection, repo.id, staged.sha256)
    made = changes.Changes(f"large {path}", added={path: entry})
    return changes.commit(world.hub, alice, repo, revision, made)


def test_branches_and_tags_come_and_go(api: HfApi, world, alice, repo) -> None:
    first = put(world, alice, repo, a=b"1")
    put(world, alice, repo, a=b"2")
    name = "alice/small"
    api.create_branch(name, branch="feature/x", revision=first)
    api.create_branch(name, branch="feature/x", exist_ok=True)
    api.create_tag(name, tag="v1.0", revision="feature/x", tag_message="the first")
    refs = api.list_repo_refs(name, include_pull_requests=True)
    assert {ref.name: ref.target_commit for ref in refs.branches} == {
        "main": api.repo_info(name).sha,
        "feature/x": first,
    }
    assert [(ref.name, ref.ref, ref.target_commit) for ref in refs.tags] == [
        ("v1.0", "refs/tags/v1.0", first)
    ]
    assert refs.pull_requests == []
    api.upload_file(
        path_or_fileobj=io.BytesIO(b"b"), path_in_repo="b", repo_id=name, revision="feature/x"
    )
    assert "b" in api.list_repo_files(name, revision="feature/x")
    assert "b" not in api.list_repo_files(name, revision="v1.0")
    for taken in (
        lambda: api.create_branch(name, branch="main"),
        lambda: api.create_tag(name, tag="v1.0"),
    ):
        with pytest.raises(HfHubHTTPError, match="409"):
            taken()
    for bad in ("refs/pr/5", "a..b", "-x", "x.lock", "a b", "x/", "a" * 300, first):
        with pytest.raises(BadRequestError):
            api.create_branch(name, branch=bad)
    with pytest.raises(RevisionNotFoundError):
        api.create_branch(name, branch="y", revision="none")
    with pytest.raises(HfHubHTTPError, match="403"):
        api.delete_branch(name, branch="main")
    with pytest.raises(HfHubHTTPError):  # a tag is not for commits
        api.upload_file(path_or_fileobj=b"b", path_in_repo="b", repo_id=name, revision="v1.0")
    api.delete_branch(name, branch="feature/x")
    api.delete_tag(name, tag="v1.0")
    for gone in (
        lambda: api.delete_branch(name, branch="feature/x"),
        lambda: api.delete_tag(name, tag="v1.0"),
    ):
        with pytest.raises(RevisionNotFoundError):
            gone()


def test_a_squashed_branch_has_one_commit_and_the_same_files(
    api: HfApi, world, alice, repo
) -> None:
    for number in range(60):
        last = put(world, alice, repo, a=b"%d" % number)
    assert len(api.list_repo_commits("alice/small")) == 61
    answer = world.ask("GET", "/api/models/alice/small/commits/main?p=1")
    assert answer.headers["x-total-count"] == "61" and len(answer.json()) == 11
    assert "link" not in answer.headers
    api.create_tag("alice/small", tag="v1")
    before = api.list_repo_tree("alice/small")
    api.super_squash_history("alice/small", commit_message="All of it")
    commits = api.list_repo_commits("alice/small")
    assert [commit.title for commit in commits] == ["All of it"]
    assert [one.blob_id for one in api.list_repo_tree("alice/small")] == [
        one.blob_id for one in before
    ]
    assert api.repo_info("alice/small").sha == commits[0].commit_id
    assert api.repo_info("alice/small", revision="v1").sha == last
    with pytest.raises(BadRequestError):
        api.super_squash_history("alice/small", branch="v1")
    with pytest.raises(RevisionNotFoundError):
        api.super_squash_history("alice/small", branch="none")


def test_large_files_are_deleted_from_every_version(api: HfApi, world, alice, repo) -> None:
    secret, other = b"secret" * 100, b"other" * 100
    clean = put(world, alice, repo, a=b"1")
    put_large(world, alice, repo, "x/secret.bin", secret)
    old = put_large(world, alice, repo, "other.bin", other)
    api.create_tag("alice/small", tag="v1")
    api.delete_file("x/secret.bin", "alice/small")
    put(world, alice, repo, b=b"2")
    listed = {one.filename: one for one in api.list_lfs_files("alice/small")}
    assert set(listed) == {"x/secret.bin", "other.bin"}
    assert listed["x/secret.bin"].size == len(secret)
    titles = [commit.title for commit in api.list_repo_commits("alice/small")]
    api.permanently_delete_lfs_files("alice/small", [listed["x/secret.bin"]])
    assert [one.filename for one in api.list_lfs_files("alice/small")] == ["other.bin"]
    history = api.list_repo_commits("alice/small")
    assert [commit.title for commit in history] == titles
    assert clean in {commit.commit_id for commit in history}  # what was before it stays as it was
    assert "x/secret.bin" not in api.list_repo_files("alice/small", revision="v1")
    assert world.ask("GET", f"/alice/small/resolve/{old}/x/secret.bin").status_code == 404
    assert world.ask("GET", "/alice/small/resolve/v1/other.bin").content == other
    with world.hub.database.read() as connection:
        row = connection.execute(table.select().where(table.c.id == repo.id)).one()
        assert row.used_bytes == content.used_bytes(connection, repo.id)
        held = set(connection.scalars(repo_blobs.select().with_only_columns(repo_blobs.c.sha256)))
        head = versions.resolve(connection, repo.id, "main")
        assert row.head == head.oid and trees.find(connection, head.tree, "other.bin")
    assert listed["x/secret.bin"].file_oid not in held
    lfs = {"key": "lfsFile", "value": {"path": "y", "oid": listed["x/secret.bin"].file_oid}}
    body = '{"key":"header","value":{"summary":"x"}}\n' + json.dumps(lfs)
    again = world.ask("POST", "/api/models/alice/small/commit/main", "alice", content=body)
    assert again.status_code == 400  # a sha256 alone opens nothing


def test_large_files_are_given_to_another_repository(world, alice, repo) -> None:
    put_large(world, alice, repo, "a.bin", b"a" * 50)
    other = making.make_repo(world.hub, alice, "model", "alice/other")
    with world.hub.database.read() as connection:
        head = versions.resolve(connection, repo.id, "main")
        entry = trees.find(connection, head.tree, "a.bin")
    body = {
        "target": {"type": "model", "name": "alice/other"},
        "files": [{"sha256": entry.key, "filename": "a.bin"}, {"sha256": "0" * 64}],
    }
    path = "/api/models/alice/small/lfs-files/duplicate"
    assert world.ask("POST", path, "bob", json=body).status_code == 403
    answer = world.ask("POST", path, "alice", json=body).json()
    assert [one["sha256"] for one in answer["failed"]] == ["0" * 64]
    with world.hub.database.read() as connection:
        assert content.large_entry(connection, other.id, entry.key) == entry
