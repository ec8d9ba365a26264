"""Commits and the names that point at them: branches, tags, pull requests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select, update

from llmos.hub.database.connection import now
from llmos.hub.database.tables import commits, refs
from llmos.hub.errors import HubError, revision_not_found
from llmos.hub.git import trees
from llmos.hub.git.objects import commit_body, object_id

MAIN = "refs/heads/main"
HEX = re.compile(r"[0-9a-f]{7,40}")
EMPTY = trees.folder_entry({})


def find_ref(connection: Connection, repo_id: int, revision: str) -> Row[Any] | None:
    """The branch, tag or other reference that `revision` names, in git's order of looking."""
    names = [revision] if revision.startswith("refs/") else []
    names += [f"refs/heads/{revision}", f"refs/tags/{revision}", f"refs/{revision}"]
    rows = connection.execute(
        select(refs).where(refs.c.repo_id == repo_id, refs.c.name.in_(names))
    ).all()
    return min(rows, key=lambda row: names.index(row.name), default=None)


def resolve(connection: Connection, repo_id: int, revision: str) -> Row[Any]:
    """The commit (row of `commits`) that a branch, tag, pull request, commit id or its first seven
    or more digits names. Raises `HubError` 404 RevisionNotFound."""
    ref = find_ref(connection, repo_id, revision)
    wanted = ref.commit if ref else revision
    if ref is None and not HEX.fullmatch(revision):
        raise revision_not_found(revision)
    same = commits.c.oid == wanted if len(wanted) == 40 else commits.c.oid.startswith(wanted)
    row = connection.execute(
        select(commits).where(commits.c.repo_id == repo_id, same).limit(2)
    ).all()
    if len(row) != 1:
        raise revision_not_found(revision)
    return row[0]


def save_commit(
    connection: Connection,
    repo_id: int,
    tree: trees.Entry,
    parents: Sequence[str],
    author: str,
    title: str,
    message: str = "",
    *,
    at: int | None = None,
) -> str:
    """Store a commit (a second time is nothing) and return its id. `at` is in milliseconds."""
    at = now() if at is None else at
    oid = object_id("commit", commit_body(tree.oid, parents, author, at, title, message))
    there = select(commits.c.oid).where(commits.c.repo_id == repo_id, commits.c.oid == oid)
    if connection.execute(there).first() is None:
        connection.execute(
            commits.insert(),
            {
                "repo_id": repo_id,
                "oid": oid,
                "tree": tree.key,
                "parents": list(parents),
                "title": title,
                "message": message,
                "author": author,
                "created_at": at,
            },
        )
    return oid


def move_ref(connection: Connection, repo_id: int, name: str, old: str, new: str) -> None:
    """Let a reference point at another commit, if it still points at `old`.

    Raises `HubError` 412 when somebody else moved it meanwhile.
    """
    moved = connection.execute(
        update(refs)
        .where(refs.c.repo_id == repo_id, refs.c.name == name, refs.c.commit == old)
        .values(commit=new)
    )
    if moved.rowcount != 1:
        raise HubError(412, f"{name} was updated meanwhile: fetch it and commit again")


def add_ref(
    connection: Connection,
    repo_id: int,
    name: str,
    kind: str,
    commit: str,
    message: str | None = None,
) -> None:
    """A new reference; `name` in full (refs/heads/...), `kind` branch, tag or pr."""
    connection.execute(
        refs.insert(),
        {"repo_id": repo_id, "name": name, "kind": kind, "commit": commit, "message": message},
    )


def history(connection: Connection, repo_id: int, oid: str | None) -> Iterator[Row[Any]]:
    """A commit and those before it, first parents only, newest first."""
    while oid:
        row = connection.execute(
            select(commits).where(commits.c.repo_id == repo_id, commits.c.oid == oid)
        ).first()
        if row is None:
            return
        yield row
        oid = row.parents[0] if row.parents else None


def merge_base(connection: Connection, repo_id: int, one: str, two: str) -> str | None:
    """The newest commit that both have in their history of first parents; None: none."""
    seen = {row.oid for row in history(connection, repo_id, one)}
    return next((row.oid for row in history(connection, repo_id, two) if row.oid in seen), None)
