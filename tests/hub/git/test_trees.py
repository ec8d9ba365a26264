"""Folders of a version against plain dictionaries, and their ids against git's own."""

from __future__ import annotations

import hashlib
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, func, select

from llmos.hub.database.tables import trees as table
from llmos.hub.git import pieces, trees
from llmos.hub.git.entries import Entry, decode, encode, git_id, in_order, key_of
from llmos.hub.git.lastchange import _by_folder, _changed

Files = dict[str, Entry]
names = st.sampled_from(["a", "a-b", "a.txt", "a0", "b", "é", "z", "B"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
contents = st.sampled_from([b"1", b"22", b"333"])
edits = st.dictionaries(paths, st.none() | contents, max_size=8)


def entry(content: bytes) -> Entry:
    oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return Entry("file", oid, len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    table.create(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def by_hand(files: Files, changes: dict[str, Entry | None]) -> Files:
    """What a draft should make: all removals and replacements first, then what is added."""
    left = {
        path: one
        for path, one in files.items()
        if not any(path == gone or path.startswith(gone + "/") for gone in changes)
    }
    return left | {path: one for path, one in changes.items() if one is not None}


def consistent(changes: dict[str, Entry | None]) -> bool:
    return not any(
        other.startswith(path + "/") for path in changes for other in changes if path != other
    )


@settings(max_examples=80, deadline=None)
@given(st.lists(edits, min_size=1, max_size=5), st.booleans())
def test_changes_do_what_they_do_to_a_dictionary(steps, cut: bool) -> None:
    engine = create_engine("sqlite://")
    table.create(engine)
    whole, bits = pieces.WHOLE, pieces.BITS
    if cut:
        pieces.WHOLE, pieces.BITS = 2, 1  # nearly every folder is cut, in several levels
    try:
        with engine.connect() as connection:
            root, files = trees.changed(connection, None, {}), {}
            for step in steps:
                changes = {path: one and entry(one) for path, one in step.items()}
                if not consistent(changes):
                    continue
                blocked = any(path.startswith(other + "/") for path in changes for other in files)
                if blocked:  # commits refuse that a file becomes a folder unseen
                    continue
                before, before_files = root, dict(files)
                root, files = trees.changed(connection, root.key, changes), by_hand(files, changes)
                check(connection, root, files)
                told = {
                    path: (old, new)
                    for path, old, new in trees.differences(connection, before.key, root.key)
                }
                assert told == {
                    path: (before_files.get(path), files.get(path))
                    for path in before_files.keys() | files.keys()
                    if before_files.get(path) != files.get(path)
                }
                wanted = [*files, *before_files]
                assert set(_changed(connection, root.key, before.key, _by_folder(wanted))) == set(
                    told
                )
    finally:
        pieces.WHOLE, pieces.BITS = whole, bits
        engine.dispose()


def check(connection: Connection, root: Entry, files: Files) -> None:
    walked = list(trees.walk(connection, root.key))
    assert walked == sorted(files.items(), key=lambda item: item[0].encode())
    assert root.size == sum(one.size for one in files.values())
    assert root.oid == git_of(files)
    everything = list(trees.walk(connection, root.key, folders=True))
    ranks = [path.encode() + b"/" * one.directory for path, one in everything]
    assert ranks == sorted(ranks)
    for number, place in enumerate([b"", *ranks]):
        rest = list(trees.walk(connection, root.key, folders=True, after=place))
        assert rest == everything[number:]
    for path, one in everything:
        assert trees.find(connection, root.key, path) == one
        assert trees.find(connection, root.key, path + "/none") is None
    assert trees.find(connection, root.key, "none") is None
    again = trees.changed(connection, None, dict(files))  # the way to it does not matter
    assert again == root
    used = set(trees.row_keys(connection, root.key, set()))
    rows = {row.key: row.data for row in connection.execute(select(table))}
    assert used <= rows.keys()
    assert all(key == hashlib.sha256(data).hexdigest() for key, data in rows.items())


def git_of(files: Files) -> str:
    """Git's id of a root, made from nested dictionaries."""
    here = {path: one for path, one in files.items() if "/" not in path}
    for folder in {path.partition("/")[0] for path in files if "/" in path}:
        start = folder + "/"
        below = {path[len(start) :]: one for path, one in files.items() if path.startswith(start)}
        here[folder] = Entry("directory", git_of(below), 0, "")
    return git_id(here)


def test_ids_are_those_of_git(connection, tmp_path: Path) -> None:
    content = {"a/b": b"1", "a-b": b"2", "a.b/c": b"3", "a0": b"4", "ä/ö/ü": b"5", "x y": b""}
    root = trees.changed(connection, None, {path: entry(data) for path, data in content.items()})
    for path, data in content.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    git = ["git", "-C", str(tmp_path)]
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run([*git, *command], check=True)
    told = subprocess.run([*git, "write-tree"], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == root.oid


def test_a_large_folder_is_the_same_whichever_way_it_came_about(connection) -> None:
    chance = random.Random(4)
    files = {f"part-{number:05d}.json": entry(b"%d" % number) for number in range(3000)}
    whole = trees.changed(connection, None, dict(files))
    root, left = None, list(files)
    chance.shuffle(left)
    while left:
        some, left = left[:500], left[500:]
        step = {path: files[path] for path in some}
        root = trees.changed(connection, root.key if root else None, step)
    assert root == whole and root.oid == git_id(files)
    first = [path for path in files if pieces.begins(path.encode(), 0)]  # pieces begin with them
    assert len(first) > 10
    for path in first:
        root = trees.changed(connection, root.key, {path: None})
    left = {path: one for path, one in files.items() if path not in first}
    assert root == trees.changed(connection, None, dict(left)) and root.oid == git_id(left)
    root = trees.changed(connection, root.key, {path: files[path] for path in first})
    assert root == whole
    removed = chance.sample(sorted(files), 2900)
    for some in (removed[:700], removed[700:]):
        root = trees.changed(connection, root.key, dict.fromkeys(some))
    rest = {path: one for path, one in files.items() if path not in set(removed)}
    assert root == trees.changed(connection, None, dict(rest))
    assert dict(trees.walk(connection, root.key)) == rest


@pytest.mark.parametrize("layout", ["nested", "flat"])
def test_one_file_more_among_100k_writes_less_than_100_kb(connection, layout: str) -> None:
    name = "data/{0:03d}/{1:05d}.json" if layout == "nested" else "sample-{1:06d}.json"
    files = {name.format(number % 300, number): entry(b"x") for number in range(100_000)}
    root = trees.changed(connection, None, dict(files))
    worst = 0
    for number in range(0, 100_000, 9_973):
        path = name.format(number % 300, number)
        for step in ({path: entry(b"new")}, {path + "1": entry(b"more")}, {path: None}):
            worst = max(worst, sum(map(len, trees.draft(connection, root.key, step).rows.values())))
    assert worst < 100_000
    assert connection.scalar(select(func.count()).select_from(table))


def test_what_is_stored_reads_back() -> None:
    tree = {"a": Entry("lfs", "1" * 40, 2**40, "2" * 64), "é" * 100: entry(b"")}
    data = encode(in_order(tree))
    assert decode(data) == tree and len(key_of(data)) == 64
