"""What is known of a repository beyond its row: its files, its children, what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Row, func, select, tuple_

from llmos.hub.accounts.rights import Caller, visible
from llmos.hub.database.tables import blobs, commits, repo_blobs, repo_tags, repos
from llmos.hub.git import trees, versions
from llmos.hub.git.cache import Cache
from llmos.hub.git.objects import pointer

LARGE_LIST = 2000  # files from which on a list is kept as JSON
_lists: Cache[bytes] = Cache(32 << 20)


def children_count(connection: Connection, caller: Caller, repo: Row[Any]) -> int:
    """How many models were made from this one, of those that the caller may see."""
    return connection.execute(
        select(func.count())
        .select_from(repo_tags)
        .join(repos, repos.c.id == repo_tags.c.repo_id)
        .where(
            repo_tags.c.tag == f"base_model:{repo.name_key}"[:200],
            repos.c.kind == "model",
            visible(caller, repos),
        )
    ).scalar_one()


def main_size(connection: Connection, repo: Row[Any]) -> int:
    """Bytes of all files of main."""
    root = versions.resolve(connection, repo.id, repo.head).tree
    return sum(entry.size for entry in trees.load(connection, root).values())


def trees_of(connection: Connection, rows: Sequence[Row[Any]]) -> dict[int, str]:
    """The root tree of main of each of these repositories, by id."""
    heads = {(row.id, row.head) for row in rows}
    found = connection.execute(
        select(commits.c.repo_id, commits.c.oid, commits.c.tree).where(
            tuple_(commits.c.repo_id, commits.c.oid).in_(heads)
        )
    )
    return {row.repo_id: row.tree for row in found}


def files_json(connection: Connection, root: str, sizes: bool) -> orjson.Fragment:
    """The files of a tree as `siblings`, ready to be put into an answer."""
    data = _lists.get((root, sizes))
    if data is None:
        files = list(_siblings(connection, root, sizes))
        data = orjson.dumps(files)
        if len(files) >= LARGE_LIST:
            _lists.add((root, sizes), data, len(data))
    return orjson.Fragment(data)


def _siblings(connection: Connection, root: str, sizes: bool) -> Iterator[dict[str, Any]]:
    for path, entry in trees.walk(connection, root):
        if not sizes:
            yield {"rfilename": path}
            continue
        file = {"rfilename": path, "size": entry.size, "blobId": entry.oid}
        if entry.lfs:
            length = len(pointer(entry.key, entry.size))
            lfs = {"sha256": entry.key, "size": entry.size, "pointerSize": length}
            yield {**file, "lfs": lfs}
        else:
            yield file


def security(connection: Connection, repo: Row[Any], root: str) -> dict[str, Any]:
    """Files of a tree that are quarantined or damaged."""
    found = connection.execute(
        select(blobs.c.sha256, blobs.c.state)
        .join(repo_blobs, repo_blobs.c.sha256 == blobs.c.sha256)
        .where(repo_blobs.c.repo_id == repo.id, blobs.c.state != "good")
    )
    bad = {row.sha256: row.state for row in found}
    issues = [
        {"path": path, "level": "unsafe" if bad[entry.key] == "quarantined" else "error"}
        for path, entry in (trees.walk(connection, root) if bad else ())
        if entry.key in bad
    ]
    return {"scansDone": True, "filesWithIssues": issues}
