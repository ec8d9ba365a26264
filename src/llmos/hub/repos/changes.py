"""Commits: what is asked of a repository, checked, and made in one transaction.

The content of files is on the disk before the transaction begins; the transaction moves the branch
only if nobody else did. So an acknowledged commit is whole, and one that was not leaves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller, Right
from llmos.hub.database.connection import now
from llmos.hub.database.tables import refs, repos
from llmos.hub.errors import HubError, bad_request, revision_not_found
from llmos.hub.git import trees, versions
from llmos.hub.hub import Hub
from llmos.hub.repos.content import note_blobs
from llmos.hub.repos.edits import Changes, edits_of
from llmos.hub.repos.indexing import Reader, concerns_index, index_repo
from llmos.hub.repos.limits import check_quota, check_sharing
from llmos.hub.together import pull_requests
from llmos.hub.together.webhooks import tell_repo
from llmos.hub.uploads import landing

__all__ = ["Changes"]  # with which a commit is asked for
# Statements that every commit needs are made once: making one takes as long as running it.
_THIS = repos.c.id == bindparam("repo")
_LOCK = select(repos.c.id).where(_THIS).with_for_update()
_HEAD = select(refs.c.commit).where(
    refs.c.repo_id == bindparam("repo"), refs.c.name == bindparam("name")
)
_GROW = update(repos).where(_THIS).values(used_bytes=repos.c.used_bytes + bindparam("more"))
_MOVE = update(repos).where(_THIS).values(updated_at=bindparam("now"))
_MOVE_MAIN = _MOVE.values(head=bindparam("commit"))
STALE = "The branch was updated since you opened this page. Please refresh and try again."


class _Moved(Exception):
    """Somebody else moved the branch between the look at it and the transaction."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """A commit made ready outside of the transaction: for this head of this branch."""

    ref: Row[Any]
    head: Row[Any]
    root: trees.Draft


def check_commit(
    connection: Connection, caller: Caller, right: Right, repo: Row[Any], revision: str
) -> None:
    """Raise `HubError` 403 unless the caller may commit to that branch or pull request, 404 when
    there is none."""
    ref = versions.find_ref(connection, repo.id, revision)
    if ref is None or ref.kind == "tag":
        raise revision_not_found(revision)
    if ref.kind == "pr":
        pull_requests.check_push(connection, caller, right, repo, ref.name)
    elif right < Right.WRITE:
        raise HubError(
            403,
            f"You don't have write access to {repo.full_name}: you may open a pull request instead "
            "(create_pr=1)",
        )


def commit(
    hub: Hub,
    caller: Caller,
    repo: Row[Any],
    revision: str,
    changes: Changes,
    *,
    parents: Sequence[str] = (),
) -> str:
    """Commit to a branch or pull request and return the new commit's id.

    `parents` are further parents (of a merge). Raises `HubError` 404 when there is no such branch,
    412 when `changes.parent` is no longer its head, 403 when the repository's sharing or the
    owner's quota forbid it.
    """
    _check(repo, changes)
    with hub.database.read() as connection:
        plan = _plan(connection, repo, revision, changes)
    reader = Reader(hub)
    reader.prepare(changes.added)
    try:
        with hub.database.write() as connection:
            return _land(hub, connection, caller, repo, plan, changes, parents, reader)
    except _Moved:
        if changes.parent:
            raise HubError(412, STALE) from None
    with hub.database.write() as connection:  # nobody can be quicker now
        _lock(connection, repo.id)
        plan = _plan(connection, repo, revision, changes)
        return _land(hub, connection, caller, repo, plan, changes, parents, reader)


def open_with_commit(
    hub: Hub, caller: Caller, repo: Row[Any], revision: str, changes: Changes
) -> tuple[str, int]:
    """Commit to a new pull request for the branch `revision`, from `changes.parent` or the
    branch's head; returns the commit's id and the pull request's number."""
    _check(repo, changes)
    with hub.database.write() as connection:
        _lock(connection, repo.id)
        base = versions.find_ref(connection, repo.id, revision)
        if base is None or base.kind != "branch":
            raise revision_not_found(revision)
        start = versions.resolve(connection, repo.id, changes.parent or base.commit)
        root = trees.draft(connection, start.tree, edits_of(connection, start.tree, changes))
        oid = _save(hub, connection, caller, repo, root, [start.oid], changes)
        number = pull_requests.open_pull_request(
            connection,
            caller,
            repo,
            title=changes.title,
            description=changes.message,
            base=base.name,
            head=oid,
        )
        _tell(connection, caller, repo, f"refs/pr/{number}", None, oid)
    return oid, number


def commit_on(
    connection: Connection,
    caller: Caller,
    repo: Row[Any],
    ref: Row[Any],
    changes: Changes,
    *,
    parents: Sequence[str] = (),
) -> str:
    """A commit of files that the repository holds already (a merge), within a transaction."""
    _lock(connection, repo.id)
    head = versions.resolve(connection, repo.id, ref.commit)
    if changes.parent and not head.oid.startswith(changes.parent):
        raise HubError(412, STALE)
    root = trees.draft(connection, head.tree, edits_of(connection, head.tree, changes))
    oid = _save(None, connection, caller, repo, root, [head.oid, *parents], changes)
    _move(connection, caller, repo, ref.name, head.oid, oid)
    return oid


def _check(repo: Row[Any], changes: Changes) -> None:
    if not changes.title.strip():
        raise bad_request("A commit needs a summary")
    for path, entry in changes.added.items():
        check_sharing(repo, path, entry.size, large=entry.lfs)


def _plan(connection: Connection, repo: Row[Any], revision: str, changes: Changes) -> _Plan:
    ref = versions.find_ref(connection, repo.id, revision)
    if ref is None or ref.kind == "tag":
        raise revision_not_found(revision)
    head = versions.resolve(connection, repo.id, ref.commit)
    if changes.parent and not head.oid.startswith(changes.parent):
        raise HubError(412, STALE)
    edits = edits_of(connection, head.tree, changes)
    return _Plan(ref, head, trees.draft(connection, head.tree, edits))


def _land(
    hub: Hub,
    connection: Connection,
    caller: Caller,
    repo: Row[Any],
    plan: _Plan,
    changes: Changes,
    parents: Sequence[str],
    reader: Reader | None = None,
) -> str:
    _lock(connection, repo.id)
    there = connection.execute(_HEAD, {"repo": repo.id, "name": plan.ref.name}).scalar()
    if there != plan.head.oid:
        raise _Moved
    before = [plan.head.oid, *parents]
    oid = _save(hub, connection, caller, repo, plan.root, before, changes)
    _move(connection, caller, repo, plan.ref.name, plan.head.oid, oid)
    pull_requests.note_commit(connection, repo.id, plan.ref.name, caller.name, oid)
    if plan.ref.name == versions.MAIN and any(map(concerns_index, changes.paths)):
        index_repo(hub, connection, repo.id, reader)
    return oid


def _lock(connection: Connection, repo_id: int) -> None:
    """Let commits to one repository wait for each other. Raises `HubError` 404 when it is gone."""
    if connection.execute(_LOCK, {"repo": repo_id}).first() is None:
        raise HubError(404, "Repository not found", "RepoNotFound")


def _save(
    hub: Hub | None,
    connection: Connection,
    caller: Caller,
    repo: Row[Any],
    root: trees.Draft,
    parents: Sequence[str],
    changes: Changes,
) -> str:
    """Store a commit and what it needs; no reference points at it yet. With `hub`, what it adds is
    new to the repository and looked at."""
    if hub is not None and changes.added:
        landing.admit(hub, connection, changes.added)
    more = note_blobs(connection, repo.id, {one.key: one.size for one in changes.added.values()})
    if more:
        if hub is not None:
            check_quota(hub, connection, repo.owner_id, more)
        connection.execute(_GROW, {"repo": repo.id, "more": more})
    trees.store(connection, root)
    return versions.save_commit(
        connection, repo.id, root.entry, parents, caller.name, changes.title, changes.message
    )


def _move(
    connection: Connection, caller: Caller, repo: Row[Any], name: str, old: str, new: str
) -> None:
    versions.move_ref(connection, repo.id, name, old, new)
    moved = {"repo": repo.id, "now": now()}
    if name == versions.MAIN:
        connection.execute(_MOVE_MAIN, {**moved, "commit": new})
    else:
        connection.execute(_MOVE, moved)
    _tell(connection, caller, repo, name, old, new)


def _tell(
    connection: Connection, caller: Caller, repo: Row[Any], name: str, old: str | None, new: str
) -> None:
    target = f"{repo.kind}:{repo.full_name}"
    audit.record(connection, caller.name, "repo.commit", target, commit=new, ref=name)
    tell_repo(connection, repo, "update", "repo.content", updated_refs=[(name, old, new)])
