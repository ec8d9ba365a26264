"""Commits: what is asked of a repository, checked, and made in one transaction.

The content of files is on the disk before the transaction begins; the transaction moves the branch
only if nobody else did. So an acknowledged commit is whole, and one that was not leaves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller
from llmos.hub.database.connection import now
from llmos.hub.database.tables import blobs, refs, repo_blobs, repos
from llmos.hub.errors import HubError, bad_request, entry_not_found, revision_not_found
from llmos.hub.git import trees, versions
from llmos.hub.git.objects import blob_id, pointer
from llmos.hub.hub import Hub
from llmos.hub.repos.names import checked_path
from llmos.hub.storage.staging import Staged, staged_bytes

INDEXED = versions.MAIN  # the branch whose card and facts are shown


@dataclass(slots=True)
class Changes:
    """What a commit does: files added or replaced, files and folders removed, copies."""

    title: str
    message: str = ""
    parent: str | None = None  # the commit that the caller saw last
    added: dict[str, trees.Entry] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)  # files
    removed_folders: list[str] = field(default_factory=list)


def keep_bytes(hub: Hub, content: bytes) -> trees.Entry:
    """Keep a small file's content, durably, and return its entry."""
    with staged_bytes(hub.settings.temporary, [content]) as staged:
        hub.blobs.put(staged)
        return trees.Entry("file", blob_id(content), staged.size, staged.sha256)


def keep_upload(hub: Hub, repo_id: int, staged: Staged) -> None:
    """Keep a large file that was sent to a repository, before any commit names it."""
    hub.blobs.put(staged)
    with hub.database.write() as connection:
        note_blobs(connection, repo_id, {staged.sha256: staged.size}, committed=False)


def large_entry(connection: Connection, repo_id: int, sha256: str) -> trees.Entry:
    """The entry of a large file that was sent to this repository (or is in it already).

    Raises `HubError` 400 when it was not: a sha256 alone opens nothing.
    """
    row = connection.execute(
        select(blobs.c.size)
        .join(repo_blobs, repo_blobs.c.sha256 == blobs.c.sha256)
        .where(repo_blobs.c.repo_id == repo_id, blobs.c.sha256 == sha256)
    ).first()
    if row is None:
        raise bad_request(f"LFS object {sha256} was not uploaded to this repository")
    return trees.Entry("lfs", blob_id(pointer(sha256, row.size)), row.size, sha256)


def note_blobs(
    connection: Connection, repo_id: int, sizes: Mapping[str, int], *, committed: bool = True
) -> None:
    """Write down that a repository holds (or was sent) these blobs: sha256 to bytes."""
    at = now()
    names = sorted(sizes)
    for start in range(0, len(names), 500):
        some = names[start : start + 500]
        known = set(connection.scalars(select(blobs.c.sha256).where(blobs.c.sha256.in_(some))))
        held = dict(
            connection.execute(
                select(repo_blobs.c.sha256, repo_blobs.c.committed).where(
                    repo_blobs.c.repo_id == repo_id, repo_blobs.c.sha256.in_(some)
                )
            ).all()
        )
        rows = [{"sha256": one, "size": sizes[one], "created_at": at} for one in some]
        if new := [row for row in rows if row["sha256"] not in known]:
            connection.execute(blobs.insert(), new)
        mark = {"repo_id": repo_id, "created_at": at, "committed": committed}
        if new := [{"sha256": one, **mark} for one in some if one not in held]:
            connection.execute(repo_blobs.insert(), new)
        if committed and (late := [one for one in some if held.get(one) is False]):
            connection.execute(
                update(repo_blobs)
                .where(repo_blobs.c.repo_id == repo_id, repo_blobs.c.sha256.in_(late))
                .values(committed=True)
            )


def tree_with(connection: Connection, root: str, changes: Changes) -> trees.Entry:
    """The root that `changes` make of the tree `root`. Raises `HubError` 404 when a file or folder
    to remove is not there, 422 for a path that is refused."""
    edits: dict[str, trees.Entry | None] = {}
    for path in changes.removed:
        entry = trees.find(connection, root, checked_path(path))
        if entry is None or entry.directory:
            raise entry_not_found(f'A file with this name doesn\'t exist: "{path}"')
        edits[path] = None
    for path in changes.removed_folders:
        folder = checked_path(path, folder=True)
        entry = trees.find(connection, root, folder)
        if entry is None or not entry.directory:
            raise entry_not_found(f'A folder with this name doesn\'t exist: "{path}"')
        edits[folder] = None
    edits |= {checked_path(path): entry for path, entry in changes.added.items()}
    _refuse_files_as_folders(edits)
    return trees.changed(connection, root, edits)


def _refuse_files_as_folders(edits: Mapping[str, trees.Entry | None]) -> None:
    added = {path for path, entry in edits.items() if entry is not None}
    for path in added:
        parts = path.split("/")
        for end in range(1, len(parts)):
            if (folder := "/".join(parts[:end])) in added:
                raise HubError(422, f"{folder} cannot be a file and a folder at once")


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
    412 when `changes.parent` is no longer its head or somebody else was quicker.
    """
    if not changes.title.strip():
        raise bad_request("A commit needs a summary")
    with hub.database.write() as connection:
        ref = versions.find_ref(connection, repo.id, revision)
        if ref is None or ref.kind == "tag":
            raise revision_not_found(revision)
        oid = commit_on(connection, caller, repo, ref, changes, parents=parents)
        if ref.name == INDEXED:
            from llmos.hub.repos.indexing import index_repo

            index_repo(hub, connection, repo.id)
    return oid


def commit_on(
    connection: Connection,
    caller: Caller,
    repo: Row[Any],
    ref: Row[Any],
    changes: Changes,
    *,
    parents: Sequence[str] = (),
) -> str:
    """The part of `commit` that happens within a transaction."""
    head = versions.resolve(connection, repo.id, ref.commit)
    if changes.parent and not head.oid.startswith(changes.parent):
        raise HubError(
            412, "The branch was updated since you last saw it: fetch it and commit again"
        )
    root = tree_with(connection, head.tree, changes)
    oid = versions.save_commit(
        connection,
        repo.id,
        root,
        [head.oid, *parents],
        caller.name,
        changes.title,
        changes.message,
    )
    versions.move_ref(connection, repo.id, ref.name, head.oid, oid)
    note_blobs(connection, repo.id, {one.key: one.size for one in changes.added.values()})
    values: dict[str, Any] = {"updated_at": now(), "used_bytes": used_bytes(connection, repo.id)}
    if ref.name == versions.MAIN:
        values["head"] = oid
    connection.execute(update(repos).where(repos.c.id == repo.id).values(**values))
    audit.record(
        connection,
        caller.name,
        "repo.commit",
        f"{repo.kind}:{repo.full_name}",
        commit=oid,
        ref=ref.name,
    )
    return oid


def used_bytes(connection: Connection, repo_id: int) -> int:
    """Bytes of all blobs that any version of a repository holds."""
    total = (
        select(func.coalesce(func.sum(blobs.c.size), 0))
        .join(repo_blobs, repo_blobs.c.sha256 == blobs.c.sha256)
        .where(repo_blobs.c.repo_id == repo_id, repo_blobs.c.committed)
    )
    return int(connection.execute(total).scalar_one())


def branches(connection: Connection, repo_id: int) -> Sequence[Row[Any]]:
    """All references of a repository, by name."""
    return connection.execute(
        select(refs).where(refs.c.repo_id == repo_id).order_by(refs.c.name)
    ).all()
