"""Commits by the real client."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    constants,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import HfHubHTTPError
from tests.hub.api.committing import paths


@pytest.fixture
def api(world, live: str, monkeypatch, tmp_path: Path) -> HfApi:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    api = HfApi(endpoint=live, token=world.tokens["alice"])
    api.create_repo("alice/small")
    return api


def test_a_folder_goes_up_and_comes_down_as_it_was(api: HfApi, live: str, tmp_path: Path) -> None:
    content = {"README.md": b"# Hi\n", "a/b.txt": b"b" * 70_000, "a/c/d.json": b"{}", "e.txt": b""}
    for path, data in content.items():
        (tmp_path / "up" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "up" / path).write_bytes(data)
    made = api.upload_folder(repo_id="alice/small", folder_path=tmp_path / "up")
    options = {"endpoint": live, "cache_dir": tmp_path / "cache", "token": False}
    first = Path(snapshot_download("alice/small", **options))
    assert first.name == made.oid
    assert {path: (first / path).read_bytes() for path in content} == content
    api.upload_file(path_or_fileobj=b"new", path_in_repo="e.txt", repo_id="alice/small")
    second = Path(snapshot_download("alice/small", **options))
    assert second != first and (second / "e.txt").read_bytes() == b"new"
    assert (first / "e.txt").read_bytes() == b""
    pinned = hf_hub_download("alice/small", "e.txt", revision=made.oid, **options)
    assert Path(pinned).read_bytes() == b""


def test_files_are_copied_deleted_and_added_anew_in_one_commit(api: HfApi, world) -> None:
    for name in ("a.txt", "b.txt", "folder/c.txt", "folder/d.txt"):
        api.upload_file(path_or_fileobj=name.encode(), path_in_repo=name, repo_id="alice/small")
    made = api.create_commit(
        "alice/small",
        [
            CommitOperationDelete("a.txt"),
            CommitOperationDelete("folder/"),
            CommitOperationAdd("folder/e.txt", b"e"),
            CommitOperationCopy("b.txt", "copy.txt"),
        ],
        commit_message="Title\n\nand more",
        commit_description="and much more",
    )
    assert paths(world) == {".gitattributes", "b.txt", "copy.txt", "folder/e.txt"}
    newest = api.list_repo_commits("alice/small", formatted=True)[0]
    assert (newest.commit_id, newest.title) == (made.oid, "Title")
    assert newest.message == "and more\n\nand much more"
    assert newest.authors == ["alice"]
    api.delete_files("alice/small", ["*.txt"])
    assert paths(world) == {".gitattributes"}


def test_a_stale_parent_is_refused_and_the_branch_stays(api: HfApi) -> None:
    old = api.repo_info("alice/small").sha
    add = [CommitOperationAdd("a.txt", b"1")]
    new = api.create_commit("alice/small", add, commit_message="1", parent_commit=old).oid
    with pytest.raises(HfHubHTTPError, match="412"):
        api.create_commit(
            "alice/small",
            [CommitOperationAdd("a.txt", b"2")],
            commit_message="2",
            parent_commit=old,
        )
    assert api.repo_info("alice/small").sha == new


def test_a_pull_request_begins_where_its_parent_says(api: HfApi, live: str, world) -> None:
    start = api.repo_info("alice/small").sha
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id="alice/small")
    bob = HfApi(endpoint=live, token=world.tokens["bob"])
    add = [CommitOperationAdd("b.txt", b"2")]
    with pytest.raises(HfHubHTTPError, match="403"):
        bob.create_commit("alice/small", add, commit_message="mine")
    made = bob.create_commit(
        "alice/small", add, commit_message="mine", create_pr=True, parent_commit=start
    )
    assert made.pr_num == 1 and made.pr_revision == "refs/pr/1"
    assert "a.txt" not in bob.list_repo_files("alice/small", revision="refs/pr/1")
    assert [
        row.commit_id for row in bob.list_repo_commits("alice/small", revision="refs/pr/1")
    ] == [
        made.oid,
        start,
    ]
    bob.upload_file(
        path_or_fileobj=b"3", path_in_repo="c.txt", repo_id="alice/small", revision="refs/pr/1"
    )
    assert "c.txt" in bob.list_repo_files("alice/small", revision="refs/pr/1")
    api.merge_pull_request("alice/small", 1)
    assert {"a.txt", "b.txt", "c.txt"} <= paths(world)
