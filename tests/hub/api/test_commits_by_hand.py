"""Commits as the real client would not send them: odd paths, nonsense, against the rules."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from tests.hub.api.committing import file, paths, send

from llmos.hub.database.tables import repos


@pytest.fixture
def small(world) -> str:
    made = world.ask("POST", "/api/repos/create", "alice", json={"name": "small"})
    assert made.status_code == 200, made.text
    return "alice/small"


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
