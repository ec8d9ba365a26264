"""Commits and names against git, and histories walked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from llmos.hub.errors import HubError
from llmos.hub.git import lastchange, trees, versions
from llmos.hub.git.cache import Cache
from llmos.hub.git.lastchange import last_changes
from llmos.hub.git.objects import commit_body, object_id
from llmos.hub.repos import changes, making
from llmos.hub.repos.content import keep_bytes


def git(folder: Path, *command: str, **more: object) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *command], check=True, capture_output=True, text=True, **more
    )
    return done.stdout.strip()


@pytest.mark.parametrize("message", ["", "and more\n\nlines"])
def test_a_commit_has_gits_own_id(tmp_path: Path, message: str) -> None:
    git(tmp_path, "init", "-q")
    tree = git(tmp_path, "write-tree")
    parents: list[str] = []
    for number in range(3):
        body = commit_body(tree, parents, "älice", 1_767_322_245_678, f"Titel {number}", message)
        name, mail = "älice", "älice@users.noreply.llmos"
        names = {
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", name), ("EMAIL", mail), ("DATE", "1767322245 +0000"))
        }
        command = ["commit-tree", tree, *(word for one in parents for word in ("-p", one))]
        text = f"Titel {number}\n" + (f"\n{message}\n" if message else "")
        theirs = git(tmp_path, *command, input=text, env={"PATH": "/usr/bin:/bin", **names})
        assert object_id("commit", body) == theirs
        hashed = git(tmp_path, "hash-object", "-t", "commit", "--stdin", input=body.decode())
        assert hashed == theirs
        parents = [theirs, *parents][:2]


@pytest.fixture
def repo(world, alice):
    return making.make_repo(world.hub, alice, "model", "alice/small")


def put(world, alice, repo, revision: str = "main", **content: bytes) -> str:
    added = {path.replace("__", "/"): keep_bytes(world.hub, data) for path, data in content.items()}
    return changes.commit(world.hub, alice, repo, revision, changes.Changes("put", added=added))


def test_a_commit_is_named_in_gits_order(world, alice, repo) -> None:
    first, second = (put(world, alice, repo, a=text) for text in (b"1", b"2"))
    with world.hub.database.write() as connection:
        for name, kind, oid in (
            ("refs/heads/both", "branch", first),
            ("refs/tags/both", "tag", second),
            ("refs/tags/v1", "tag", second),
            ("refs/pr/7", "pr", first),
            (f"refs/heads/{second}", "branch", first),
            (f"refs/heads/{second[:8]}", "branch", first),
        ):
            versions.add_ref(connection, repo.id, name, kind, oid)
    named = {
        "main": second,
        "both": first,
        "refs/tags/both": second,
        "v1": second,
        "refs/pr/7": first,
        "pr/7": first,
        first: first,
        first[:7]: first,
        second: second,  # a branch cannot pass for a commit
        second[:8]: first,  # git takes a name before an abbreviation
    }
    with world.hub.database.read() as connection:
        for revision, oid in named.items():
            assert versions.resolve(connection, repo.id, revision).oid == oid, revision
        for nothing in ("", "x", first[:6], "0" * 40, "0" * 7, "heads/none", "a\0b", "%", "_" * 7):
            with pytest.raises(HubError) as error:
                versions.resolve(connection, repo.id, nothing)
            assert error.value.code == "RevisionNotFound"


def test_history_is_walked_from_commit_to_commit(world, alice, repo) -> None:
    made = [put(world, alice, repo, a=b"%d" % number) for number in range(40)]
    with world.hub.database.read() as connection:
        told = [row.oid for row in versions.history(connection, repo.id, made[-1])]
        assert told[:-1] == made[::-1] and told[-1] != repo.id
        assert versions.reachable(connection, repo.id, [made[5]]).keys() == set(told[-7:])
        assert versions.merge_base(connection, repo.id, made[3], made[9]) == made[3]


@pytest.mark.parametrize("remembered", [True, False])
def test_last_changes_are_those_that_a_look_at_every_commit_finds(
    world, alice, repo, monkeypatch, remembered: bool
) -> None:
    steps = [
        {"a": b"1", "f__x": b"1", "f__g__y": b"1"},
        {"f__x": b"2"},
        {"b": b"1"},
        {"f__g__z": b"1"},
        {"b": b"1", "a": b"3"},
        {"c": b"1"},
    ]
    for step in steps:
        put(world, alice, repo, **step)
    wanted = ["a", "b", "c", "f", "f/x", "f/g", "f/g/y", "f/g/z", ".gitattributes", "none"]
    with world.hub.database.read() as connection:
        rows = list(versions.history(connection, repo.id, repo_head(connection, repo)))
        for start in reversed(range(len(rows))):
            head, expected = rows[start], {}
            for path in wanted:
                now = trees.find(connection, head.tree, path)
                if now is None:
                    continue
                for row, older in zip(rows[start:], [*rows[start + 1 :], None], strict=True):
                    if older is None or trees.find(connection, older.tree, path) != now:
                        expected[path] = row.oid
                        break
            if not remembered:
                monkeypatch.setattr(lastchange, "_answers", Cache(1000))
            for _ in range(2):  # looked up, then remembered
                told = last_changes(connection, repo.id, head, wanted)
                assert {path: row.oid for path, row in told.items()} == expected


def repo_head(connection, repo) -> str:
    return versions.resolve(connection, repo.id, "main").oid
