"""Commits by the real client, and by hand where the client would not send such a thing."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

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

from llmos.hub.database.tables import repos


@pytest.fixture
def api(world, live: str, monkeypatch, tmp_path: Path) -> HfApi:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    api = HfApi(endpoint=live, token=world.tokens["alice"])
    api.create_repo("alice/small")
    return api


def send(world, user: str | None, *lines: dict[str, Any], repo: str = "alice/small", **options):
    """A commit by hand: `lines` come after a header, unless they begin with one."""
    head = {"key": "header", "value": {"summary": "by hand"}}
    body = lines if lines and lines[0].get("key") == "header" else (head, *lines)
    text = b"".join(json.dumps(line).encode() + b"\n" for line in body)
    query = options.pop("query", "")
    return world.ask("POST", f"/api/models/{repo}/commit/main{query}", user, content=text)


def file(path: Any, content: Any = "x", **more: Any) -> dict[str, Any]:
    return {"key": "file", "value": {"path": path, "content": content, **more}}


@pytest.fixture
def small(world) -> str:
    made = world.ask("POST", "/api/repos/create", "alice", json={"name": "small"})
    assert made.status_code == 200, made.text
    return "alice/small"


def paths(world, repo: str = "alice/small") -> set[str]:
    found = world.ask("GET", f"/api/models/{repo}/tree/main?recursive=true", "alice").json()
    return {entry["path"] for entry in found if entry["type"] == "file"}


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


def test_preupload_tells_how_each_file_travels(small: str, world) -> None:
    send(world, "alice", file(".gitignore", "*.log\nout/\n!keep.log\n"), file("a.txt", "here"))
    sizes = {"a.txt": 4, "b.safetensors": 9, "big.txt": 11 << 20, "x.log": 1, "keep.log": 1}
    asked = [{"path": path, "size": size} for path, size in [*sizes.items(), ("out/y", 1)]]
    found = world.ask(
        "POST", f"/api/models/{small}/preupload/main", "alice", json={"files": asked}
    ).json()
    by_path = {one["path"]: one for one in found["files"]}
    assert [by_path[path]["uploadMode"] for path in sizes] == [
        "regular",
        "lfs",
        "lfs",
        "regular",
        "regular",
    ]
    assert {path for path, one in by_path.items() if one["shouldIgnore"]} == {"x.log", "out/y"}
    assert by_path["a.txt"]["oid"] == hashlib.sha1(b"blob 4\0here").hexdigest()


HOSTILE = [
    "..",
    "../x",
    "a/../b",
    "a/./b",
    "/a",
    "a//b",
    "",
    "a\\b",
    "a/\0",
    "a\nb",
    ".git/config",
    ".GIT/config",
    "a/.git",
    ".git./x",
    "git~1/x",
    "．．/x",  # full-width dots
    "a／b",  # full-width slash
    "a＼b",
    "a\u202eb",  # right-to-left override
    ".g\u200cit/config",  # ignored by some file systems
    "a" * 300,
    "ä" * 150,
    "/".join(["a" * 200] * 6),
    5,
    None,
    ["a"],
]


def test_a_path_that_could_mean_another_place_is_refused(small: str, world) -> None:
    for path in HOSTILE:
        refused = 400 if path == "a/\0" else 422  # no JSON of ours has NUL
        assert send(world, "alice", file(path)).status_code == refused, path
        for key in ("deletedFile", "deletedFolder", "deletedEntry"):
            answer = send(world, "alice", {"key": key, "value": {"path": path}})
            assert answer.status_code == refused, path
        asked = {"files": [{"path": path, "size": 1}]}
        answer = world.ask("POST", f"/api/models/{small}/preupload/main", "alice", json=asked)
        assert answer.status_code == (refused if isinstance(path, str) else 400), path
    assert paths(world) == {".gitattributes"}


def test_unusual_names_are_kept_as_they_are(small: str, world) -> None:
    names = {"A.txt", "a.txt", "ü/日本語.txt", "a b", ".gitignore", ".github/x", "-", "con", "#?%"}
    assert send(world, "alice", *map(file, names)).status_code == 200
    assert paths(world) == {".gitattributes", *names}
    from urllib.parse import quote

    for name in names:
        assert world.ask("GET", f"/{small}/resolve/main/{quote(name, safe='')}").text == "x"


SENSELESS: list[tuple[list[dict[str, Any]], int]] = [
    ([{"key": "header", "value": {"summary": ""}}], 400),
    ([{"key": "header", "value": {"summary": 5}}], 400),
    ([{"key": "header", "value": {"summary": "a\0b"}}], 400),
    ([{"key": "header", "value": {"summary": "x" * 2000}}], 422),
    ([{"key": "header", "value": {"summary": "x", "description": "x" * 70_000}}], 422),
    ([{"key": "header", "value": {"summary": "x", "parentCommit": "main"}}], 400),
    ([{"key": "header", "value": None}], 400),
    ([{"key": "nothing", "value": {"path": "a"}}], 400),
    ([{"key": ["file"], "value": {"path": "a"}}], 400),
    ([{"key": "file", "value": []}], 400),
    ([file("a", "====", encoding="base64")], 400),
    ([file("a", "a b c", encoding="base64")], 400),
    ([file("a", "é", encoding="base64")], 400),
    ([file("a", "x", encoding="rot13")], 400),
    ([file("a", 5)], 400),
    ([file("a", "\ud800")], 400),
    ([file("a"), file("a/b")], 422),
    ([file(".gitattributes/b")], 422),
    ([file("a"), {"key": "deletedFile", "value": {"path": "a"}}], 422),
    ([{"key": "deletedFile", "value": {"path": "a"}}], 404),
    ([{"key": "deletedFolder", "value": {"path": ".gitattributes"}}], 404),
    ([{"key": "lfsFile", "value": {"path": "a", "oid": "0" * 64, "size": 1}}], 400),
    ([{"key": "lfsFile", "value": {"path": "a", "oid": "x"}}], 400),
    ([{"key": "lfsFile", "value": {"path": "a", "oid": "0" * 64, "size": "1"}}], 400),
    ([file("a", "x" * (11 << 20))], 413),
]


def test_what_makes_no_sense_is_refused_whole(small: str, world) -> None:
    for lines, status in SENSELESS:
        answer = send(world, "alice", *lines, file("other.txt"))
        assert answer.status_code == status, (str(lines)[:200], answer.text)
        assert answer.json()["error"]
    assert paths(world) == {".gitattributes"}


def test_bodies_that_are_no_lines_of_json(small: str, world) -> None:
    for body in (b"", b"\xff\xfe", b"[1]", b"{}", b'"x"\n', b"{\n", b'{"key":"header"}'):
        answer = world.ask("POST", f"/api/models/{small}/commit/main", "alice", content=body)
        assert answer.status_code == 400


def test_the_last_word_on_a_path_counts(small: str, world) -> None:
    base64_text = base64.b64encode(b"\0\xff").decode()
    assert send(world, "alice", file("a", "1"), file("a", base64_text, encoding="base64"))
    assert world.ask("GET", f"/{small}/resolve/main/a").content == b"\0\xff"
    remove = {"key": "deletedFile", "value": {"path": "a"}}
    assert send(world, "alice", remove, file("a", "3")).status_code == 200
    assert world.ask("GET", f"/{small}/resolve/main/a").content == b"3"
    folder = send(world, "alice", {"key": "deletedEntry", "value": {"path": "a"}}, file("a/b"))
    assert folder.status_code == 200
    assert paths(world) == {".gitattributes", "a/b"}
    assert send(world, "alice", file("a")).status_code == 422
    gone = {"key": "deletedEntry", "value": {"path": "a"}}
    assert send(world, "alice", gone, file("a")).status_code == 200
    assert paths(world) == {".gitattributes", "a"}


def test_a_commit_without_operations_is_one(small: str, world) -> None:
    before = world.ask("GET", f"/api/models/{small}", "alice").json()["sha"]
    made = send(world, "alice").json()["commitOid"]
    assert made != before
    rows = world.ask("GET", f"/api/models/{small}/commits/main").json()
    assert [row["id"] for row in rows] == [made, before]


@pytest.mark.parametrize("sharing", ["federated", "metadata"])
def test_data_stay_at_home(sharing: str, small: str, world) -> None:
    with world.hub.database.write() as connection:
        connection.execute(repos.update().values(sharing=sharing))
    kept = ["README.md", "a/b.json", "c.yaml", "c.yml", "d.toml", "LICENSE", "LICENSE.txt"]
    assert send(world, "alice", *map(file, kept)).status_code == 200
    for refused in (file("data.csv"), file("a.parquet"), file("x.json", "1" * (1 << 20) + "1")):
        answer = send(world, "alice", file("ok.md"), refused)
        assert answer.status_code == 403 and "stay at home" in answer.json()["error"]
    large = {"key": "lfsFile", "value": {"path": "a.md", "oid": "0" * 64, "size": 1}}
    assert send(world, "alice", large).status_code == 403
    asked = {"files": [{"path": "data.csv", "size": 1}]}
    answer = world.ask("POST", f"/api/models/{small}/preupload/main", "alice", json=asked)
    assert answer.status_code == 403
    assert paths(world) == {".gitattributes", *kept}


def test_a_full_quota_refuses_what_is_new_only(small: str, world) -> None:
    from llmos.hub.database.tables import accounts

    send(world, "alice", file("a", "x" * 1000))
    with world.hub.database.write() as connection:
        used = connection.scalar(repos.select().with_only_columns(repos.c.used_bytes))
        own = accounts.update().where(accounts.c.name == "alice")
        connection.execute(own.values(quota=used + 500))
    assert send(world, "alice", file("b", "x" * 1000)).status_code == 200  # the same bytes again
    answer = send(world, "alice", file("c", "y" * 1000))
    assert answer.status_code == 403 and "quota" in answer.json()["error"]
    assert paths(world) == {".gitattributes", "a", "b"}
    with world.hub.database.read() as connection:
        after = connection.scalar(repos.select().with_only_columns(repos.c.used_bytes))
    assert after == used
