"""Commits and the names that point at them: branches, tags, pull requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, select, update

from llmos.hub.database.connection import now
from llmos.hub.database.missing import add_missing
from llmos.hub.database.prepared import Prepared
from llmos.hub.database.tables import commits, refs
from llmos.hub.errors import HubError, revision_not_found
from llmos.hub.git import trees
from llmos.hub.git.objects import commit_body, object_id

MAIN = "refs/heads/main"
HEX = re.compile(r"[0-9a-f]{7,40}")
EMPTY = trees.folder_entry({})


_COMMIT = select(commits).where(
    commits.c.repo_id == bindparam("repo"), commits.c.oid == bindparam("oid")
)
_MOVE = Prepared(
    update(refs)
    .where(
        refs.c.repo_id == bindparam("repo"),
        refs.c.name == bindparam("called"),
        refs.c.commit == bindparam("old"),
    )
    .values(commit=bindparam("new"))
)
_NAMES = refs.c.name.in_([bindparam("full"), bindparam("branch"), bindparam("tag")])
_BEST = case(  # git's order of looking
    (refs.c.name == bindparam("full"), 0), (refs.c.name == bindparam("branch"), 1), else_=2
)
_NAMED = (
    select(commits)
    .join(refs, (refs.c.repo_id == commits.c.repo_id) & (refs.c.commit == commits.c.oid))
    .where(refs.c.repo_id == bindparam("repo"), _NAMES)
    .order_by(_BEST)
    .limit(1)
)
_REF = select(refs).where(refs.c.repo_id == bindparam("repo"), _NAMES).order_by(_BEST).limit(1)
_HEAD = Prepared(
    select(refs.c.name, refs.c.kind, refs.c.commit, commits.c.tree)
    .join(commits, (commits.c.repo_id == refs.c.repo_id) & (commits.c.oid == refs.c.commit))
    .where(refs.c.repo_id == bindparam("repo"), _NAMES)
    .order_by(_BEST)
    .limit(1)
)


def _names(repo_id: int, revision: str) -> dict[str, object]:
    full = revision if revision.startswith("refs/") else f"refs/{revision}"
    return {
        "repo": repo_id,
        "full": full,
        "branch": f"refs/heads/{revision}",
        "tag": f"refs/tags/{revision}",
    }


def find_ref(connection: Connection, repo_id: int, revision: str) -> Row[Any] | None:
    """The branch, tag or other reference that `revision` names, in git's order of looking."""
    if "\0" in revision:
        return None
    return connection.execute(_REF, _names(repo_id, revision)).first()


def find_head(connection: Connection, repo_id: int, revision: str) -> Row[Any] | None:
    """The same with what it points at: name, kind, commit and the key of that one's tree."""
    if "\0" in revision:
        return None
    return _HEAD.first(connection, _names(repo_id, revision))


def resolve(connection: Connection, repo_id: int, revision: str) -> Row[Any]:
    """The commit (row of `commits`) that a commit's id, a branch, tag, pull request, or the first
    seven or more digits of an id name. A whole id comes first, so that no branch can pass for it.

    Raises `HubError` 404 RevisionNotFound.
    """
    if "\0" in revision:  # PostgreSQL takes no such text
        raise revision_not_found(revision.replace("\0", ""))
    digits = HEX.fullmatch(revision)
    row = None
    if digits and len(revision) == 40:
        row = connection.execute(_COMMIT, {"repo": repo_id, "oid": revision}).first()
    row = row or connection.execute(_NAMED, _names(repo_id, revision)).first()
    if row is None and digits:
        start = commits.c.oid.between(revision, revision + "g")  # g: after all hexadecimal digits
        found = select(commits).where(commits.c.repo_id == repo_id, start).limit(2)
        rows = connection.execute(found).all()
        row = rows[0] if len(rows) == 1 else None
    if row is None:
        raise revision_not_found(revision)
    return row


def new_commit(
    repo_id: int,
    tree: trees.Entry,
    parents: Sequence[str],
    author: str,
    title: str,
    message: str = "",
    *,
    at: int | None = None,
) -> dict[str, Any]:
    """The row of a commit that is not stored yet. `at` is in milliseconds."""
    at = now() if at is None else at
    return {
        "repo_id": repo_id,
        "oid": object_id("commit", commit_body(tree.oid, parents, author, at, title, message)),
        "tree": tree.key,
        "parents": list(parents),
        "title": title,
        "message": message,
        "author": author,
        "created_at": at,
    }


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
    row = new_commit(repo_id, tree, parents, author, title, message, at=at)
    add_missing(connection, commits, [row])
    return str(row["oid"])


def move_ref(connection: Connection, repo_id: int, name: str, old: str, new: str) -> None:
    """Let a reference point at another commit, if it still points at `old`.

    Raises `HubError` 412 when somebody else moved it meanwhile.
    """
    if _MOVE.run(connection, {"repo": repo_id, "called": name, "old": old, "new": new}) != 1:
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
    ahead: dict[str, Row[Any]] = {}
    batch = 8
    while oid:
        row = ahead.pop(oid, None)
        if row is None:
            row = connection.execute(_COMMIT, {"repo": repo_id, "oid": oid}).first()
            if row is None:
                return
            batch = min(batch * 2, 1000)
            older = (
                select(commits)
                .where(commits.c.repo_id == repo_id, commits.c.created_at <= row.created_at)
                .order_by(commits.c.created_at.desc())
                .limit(batch)
            )
            ahead = {one.oid: one for one in connection.execute(older)} if row.parents else {}
        yield row
        oid = row.parents[0] if row.parents else None


def merge_base(connection: Connection, repo_id: int, one: str, two: str) -> str | None:
    """The newest commit that both have in their history of first parents; None: none."""
    seen: set[str] = set()
    both = zip_longest(history(connection, repo_id, one), history(connection, repo_id, two))
    for row in (row for pair in both for row in pair if row is not None):
        if row.oid in seen:
            return str(row.oid)
        seen.add(row.oid)
    return None


def reachable(
    connection: Connection, repo_id: int, heads: Iterable[str], seen: set[str] | None = None
) -> dict[str, Row[Any]]:
    """All commits from which `heads` come, and those, by their id; parents of merges too. Those in
    `seen`, and what they come from, are left out; it is added to."""
    found: dict[str, Row[Any]] = {}
    passed = set() if seen is None else seen
    waiting = list(heads)
    while waiting:
        for row in history(connection, repo_id, waiting.pop()):
            if row.oid in passed:
                break
            passed.add(row.oid)
            found[row.oid] = row
            waiting += row.parents[1:]
    return found
