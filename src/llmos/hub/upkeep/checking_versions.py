"""Folders and commits computed anew: their ids must come out the same."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

from sqlalchemy import Connection, select
from sqlalchemy.exc import NoResultFound

from llmos.hub.database.tables import commits, refs, repos, trees
from llmos.hub.errors import HubError
from llmos.hub.git.entries import Piece, decode
from llmos.hub.git.objects import commit_body, object_id
from llmos.hub.git.trees import folder_entry, load, walk

UNREADABLE = (HubError, struct.error, UnicodeDecodeError, KeyError, ValueError)
MANY_PLACES = 3  # of one damaged blob that are named for each reference


def broken_trees(connection: Connection) -> Iterator[str]:
    """Folders whose bytes, ids or sizes are not what they should be."""
    folders: dict[str, str] = {}  # key to git's id, as the folder above says
    bad: set[str] = set()
    for row in connection.execute(select(trees), execution_options={"yield_per": 1000}):
        if hashlib.sha256(row.data).hexdigest() != row.key:
            bad.add(row.key)
            yield f"tree {row.key}: has other bytes than those that were stored"
            continue
        parts = decode(row.data)
        for part in parts if isinstance(parts, list) else parts.values():
            if not isinstance(part, Piece) and part.directory:
                folders[part.key] = part.oid
    for key, oid in folders.items():
        try:
            made = folder_entry(load(connection, key))
        except (NoResultFound, *UNREADABLE):
            if key not in bad:
                yield f"tree {key}: cannot be read, or a part of it is missing"
            continue
        if (made.oid, made.key) != (oid, key):
            yield f"tree {key}: its git id is {made.oid}, the folder above says {oid}"


def broken_commits(connection: Connection) -> Iterator[str]:
    """Commits whose id is not that of their content."""
    roots: dict[str, str] = {}
    names = {row.id: f"{row.kind} {row.full_name}" for row in connection.execute(select(repos))}
    for row in connection.execute(select(commits), execution_options={"yield_per": 1000}):
        if row.tree not in roots:
            try:
                made = folder_entry(load(connection, row.tree))
                roots[row.tree] = made.oid if made.key == row.tree else ""
            except (NoResultFound, *UNREADABLE):
                roots[row.tree] = ""
        about = (row.parents, row.author, row.created_at, row.title, row.message)
        oid = object_id("commit", commit_body(roots[row.tree], *about))
        if oid != row.oid:
            why = "its id is not that of its content" if roots[row.tree] else "its tree is damaged"
            yield f"{names.get(row.repo_id, row.repo_id)}: commit {row.oid}: {why}"


def places_of(connection: Connection, repo_id: int, wanted: set[str]) -> Iterator[tuple[str, str]]:
    """Where blobs are in a repository: sha256 and "PATH at REFERENCE"; in older versions only:
    "PATH in commit ID"."""
    found: dict[str, int] = {}
    heads = connection.execute(
        select(refs.c.name, commits.c.tree)
        .join(commits, (commits.c.repo_id == refs.c.repo_id) & (commits.c.oid == refs.c.commit))
        .where(refs.c.repo_id == repo_id)
        .order_by(refs.c.name)
    ).all()
    places = [(f"at {row.name}", row.tree) for row in heads]
    older = select(commits).where(commits.c.repo_id == repo_id).order_by(commits.c.created_at)
    places += [(f"in commit {row.oid}", row.tree) for row in connection.execute(older)]
    for number, (where, tree) in enumerate(places):
        left = wanted - found.keys() if number >= len(heads) else wanted
        if not left:
            return
        try:
            for path, entry in walk(connection, tree):
                if entry.key in left and found.get(entry.key, 0) < MANY_PLACES:
                    found[entry.key] = found.get(entry.key, 0) + 1
                    yield entry.key, f"{path} {where}"
        except (NoResultFound, *UNREADABLE):
            continue  # the folder itself is damaged, and named by `broken_trees`
