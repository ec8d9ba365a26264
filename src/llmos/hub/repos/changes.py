"""Commits: what is asked of a repository, checked, and made in one transaction.

The content of files is kept before the transaction begins: on the disk, or, of small files, beside
the rows that the transaction brings there (see upkeep/settling.py). It moves the branch only if
nobody else did. So an acknowledged commit is whole, and one that was not leaves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller, Right
from llmos.hub.database.connection import now
from llmos.hub.database.missing import add_missing
from llmos.hub.database.prepared import Prepared
from llmos.hub.database.tables import commits, repos
from llmos.hub.errors import HubError, bad_request, revision_not_found
from llmos.hub.git import trees, versions
from llmos.hub.hub import Hub
from llmos.hub.repos.content import note_arrived, note_blobs
from llmos.hub.repos.edits import Changes, edits_of
from llmos.hub.repos.indexing import Reader, concerns_index, index_repo
from llmos.hub.repos.limits import check_quota, check_sharing
from llmos.hub.together import pull_requests
from llmos.hub.together.webhooks import tell_repo
from llmos.hub.uploads import landing

__all__ = ["Changes"]  # with which a commit is asked for
_THIS = repos.c.id == bindparam("repo")
_LOCK = Prepared(select(repos.c.id).where(_THIS).with_for_update())
_BYTES = repos.c.used_bytes + bindparam("more")
_GROW = Prepared(update(repos).where(_THIS).values(used_bytes=_BYTES))
_MOVED = update(repos).where(_THIS).values(used_bytes=_BYTES, updated_at=bindparam("now"))
_MOVE = Prepared(_MOVED)
_MOVE_MAIN = Prepared(_MOVED.values(head=bindparam("commit")))
STALE = "The branch was updated since you opened this page. Please refresh and try again."


class _Moved(Exception):
    """Somebody else moved the branch between the look at it and the transaction."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A commit made ready outside of the transaction: for this head of this branch."""

    head: Row[Any]  # see versions.find_head
    root: trees.Draft


def check_commit(
    connection: Connection, caller: Caller, right: Right, repo: Row[Any], revision: str
) -> Row[Any]:
    """The head of a branch or pull request to which the caller may commit. Raises `HubError` 403
    when they may not, 404 when there is none."""
    head = _head(connection, repo, revision)
    if head.kind == "pr":
        pull_requests.check_push(connection, caller, right, repo, head.name)
    elif right < Right.WRITE:
        raise HubError(
            403,
            f"You don't have write access to {repo.full_name}: you may open a pull request instead "
            "(create_pr=1)",
        )
    return head


def _head(connection: Connection, repo: Row[Any], revision: str) -> Row[Any]:
    head = versions.find_head(connection, repo.id, revision)
    if head is None or head.kind == "tag":
        raise revision_not_found(revision)
    return head


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
    with hub.database.read() as connection:
        made = plan(connection, repo, _head(connection, repo, revision), changes)
    return land(hub, caller, repo, made, changes, parents=parents)


def plan(connection: Connection, repo: Row[Any], head: Row[Any], changes: Changes) -> Plan:
    """Make a commit ready. Raises `HubError` as `commit` does."""
    _check(repo, changes)
    if changes.parent and not head.commit.startswith(changes.parent):
        raise HubError(412, STALE)
    return Plan(head, trees.draft(connection, head.tree, edits_of(connection, head.tree, changes)))


def land(
    hub: Hub,
    caller: Caller,
    repo: Row[Any],
    planned: Plan,
    changes: Changes,
    *,
    parents: Sequence[str] = (),
) -> str:
    """Make a commit that is ready, and return its id; one that somebody else was quicker than is
    made ready again. Raises `HubError` as `commit` does."""
    reader = Reader(hub)
    reader.prepare(changes.added)
    try:
        with hub.database.write() as connection:
            _lock(connection, repo.id)
            return _land(hub, connection, caller, repo, planned, changes, parents, reader)
    except _Moved:
        if changes.parent:
            raise HubError(412, STALE) from None
    with hub.database.write() as connection:  # nobody can be quicker now
        _lock(connection, repo.id)
        again = plan(connection, repo, _head(connection, repo, planned.head.name), changes)
        return _land(hub, connection, caller, repo, again, changes, parents, reader)


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
        made = _commit(caller, repo, root, [start.oid], changes)
        more = _save(hub, connection, repo, root, made, changes)
        if more:
            _GROW.run(connection, {"repo": repo.id, "more": more})
        number = pull_requests.open_pull_request(
            connection,
            caller,
            repo,
            title=changes.title,
            description=changes.message,
            base=base.name,
            head=made["oid"],
        )
        _tell(connection, caller, repo, f"refs/pr/{number}", None, made["oid"])
    return made["oid"], number


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
    made = _commit(caller, repo, root, [head.oid, *parents], changes)
    versions.move_ref(connection, repo.id, ref.name, head.oid, made["oid"])
    more = _save(None, connection, repo, root, made, changes)
    _note(connection, caller, repo, ref.name, made, more)
    return str(made["oid"])


def _check(repo: Row[Any], changes: Changes) -> None:
    if not changes.title.strip():
        raise bad_request("A commit needs a summary")
    for path, entry in changes.added.items():
        check_sharing(repo, path, entry.size, large=entry.lfs)


def _land(
    hub: Hub,
    connection: Connection,
    caller: Caller,
    repo: Row[Any],
    planned: Plan,
    changes: Changes,
    parents: Sequence[str],
    reader: Reader,
) -> str:
    head = planned.head
    made = _commit(caller, repo, planned.root, [head.commit, *parents], changes)
    try:
        versions.move_ref(connection, repo.id, head.name, head.commit, made["oid"])
    except HubError as error:
        raise _Moved from error
    more = _save(hub, connection, repo, planned.root, made, changes)
    _note(connection, caller, repo, head.name, made, more)
    pull_requests.note_commit(connection, repo.id, head.name, caller.name, made["oid"])
    if head.name == versions.MAIN and any(map(concerns_index, changes.paths)):
        index_repo(hub, connection, repo.id, reader)
    return str(made["oid"])


def _lock(connection: Connection, repo_id: int) -> None:
    """Let commits to one repository wait for each other. Raises `HubError` 404 when it is gone."""
    if _LOCK.first(connection, {"repo": repo_id}) is None:
        raise HubError(404, "Repository not found", "RepoNotFound")


def _commit(
    caller: Caller, repo: Row[Any], root: trees.Draft, parents: Sequence[str], changes: Changes
) -> dict[str, Any]:
    """The row of a new commit."""
    title, message = changes.title, changes.message
    return versions.new_commit(repo.id, root.entry, parents, caller.name, title, message)


def _save(
    hub: Hub | None,
    connection: Connection,
    repo: Row[Any],
    root: trees.Draft,
    made: dict[str, Any],
    changes: Changes,
) -> int:
    """Store a commit and what it needs, and return by how many bytes the repository grows. With
    `hub`, what it adds is new to the repository and looked at."""
    if hub is not None and changes.added:
        landing.admit(hub, connection, changes.added)
    more = note_blobs(connection, repo.id, {one.key: one.size for one in changes.added.values()})
    if more and hub is not None:
        check_quota(hub, connection, repo.owner_id, more)
    note_arrived(connection, changes.arrived)
    trees.store(connection, root)
    add_missing(connection, commits, [made])
    return more


def _note(
    connection: Connection,
    caller: Caller,
    repo: Row[Any],
    name: str,
    made: dict[str, Any],
    more: int,
) -> None:
    """Write down, and tell, that a reference has moved to a commit."""
    moved = {"repo": repo.id, "now": now(), "more": more}
    if name == versions.MAIN:
        _MOVE_MAIN.run(connection, {**moved, "commit": made["oid"]})
    else:
        _MOVE.run(connection, moved)
    _tell(connection, caller, repo, name, made["parents"][0], made["oid"])


def _tell(
    connection: Connection, caller: Caller, repo: Row[Any], name: str, old: str | None, new: str
) -> None:
    target = f"{repo.kind}:{repo.full_name}"
    audit.record(connection, caller.name, "repo.commit", target, commit=new, ref=name)
    tell_repo(connection, repo, "update", "repo.content", updated_refs=[(name, old, new)])
