"""Large files in all versions of a repository: found, and deleted for good."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller
from llmos.hub.database.tables import commits, discussions, refs, repo_blobs, repos
from llmos.hub.git import trees, versions
from llmos.hub.hub import Hub
from llmos.hub.repos.content import used_bytes
from llmos.hub.repos.indexing import index_repo
from llmos.hub.repos.references import all_of


@dataclass(frozen=True, slots=True)
class LargeFile:
    """A large file, the newest path and commit that it came with (milliseconds since 1970), and
    one of the references that lead to it."""

    sha256: str
    size: int
    path: str
    pushed_at: int
    reference: str


def large_files(connection: Connection, repo_id: int) -> list[LargeFile]:
    """All large files that a reference leads to, the newest first."""
    found: dict[str, LargeFile] = {}
    seen: set[str] = set()
    main_first = sorted(all_of(connection, repo_id), key=lambda row: row.name != versions.MAIN)
    for ref in main_first:
        for row in versions.reachable(connection, repo_id, [ref.commit], seen).values():
            parent = _tree(connection, repo_id, row.parents[0]) if row.parents else None
            for path, _, entry in trees.differences(connection, parent, row.tree):
                if entry is None or not entry.lfs:
                    continue
                known = found.get(entry.key)
                if known is None or known.pushed_at < row.created_at:
                    name = known.reference if known else ref.name
                    at = row.created_at
                    found[entry.key] = LargeFile(entry.key, entry.size, path, at, name)
    return sorted(found.values(), key=lambda one: (-one.pushed_at, one.path))


def _tree(connection: Connection, repo_id: int, oid: str) -> str | None:
    return connection.execute(
        select(commits.c.tree).where(commits.c.repo_id == repo_id, commits.c.oid == oid)
    ).scalar()


def delete_for_good(hub: Hub, caller: Caller, repo: Row[Any], gone: set[str]) -> None:
    """Rewrite every version of a repository without the large files of these sha256, and forget
    the versions that had them; the bytes go with the next collection."""
    with hub.database.write() as connection:
        connection.execute(select(repos.c.id).where(repos.c.id == repo.id).with_for_update())
        held = _held(connection, repo.id, gone)
        if not held:
            return
        heads = {row.name: row.commit for row in all_of(connection, repo.id)}
        old = versions.reachable(connection, repo.id, heads.values())
        new = _rewritten(connection, repo.id, old, held)
        for name, oid in heads.items():
            same = (refs.c.repo_id == repo.id) & (refs.c.name == name)
            connection.execute(update(refs).where(same).values(commit=new[oid]))
        _point_merges(connection, repo.id, new)
        kept = set(new.values())
        listed = select(commits.c.oid).where(commits.c.repo_id == repo.id)
        late = [oid for oid in connection.scalars(listed) if oid not in kept]
        for some in _batches(late):
            connection.execute(
                delete(commits).where(commits.c.repo_id == repo.id, commits.c.oid.in_(some))
            )
        for some in _batches(sorted(held)):
            connection.execute(
                delete(repo_blobs).where(
                    repo_blobs.c.repo_id == repo.id, repo_blobs.c.sha256.in_(some)
                )
            )
        used = used_bytes(connection, repo.id)
        values: dict[str, Any] = {"used_bytes": used, "head": new.get(heads[versions.MAIN])}
        connection.execute(update(repos).where(repos.c.id == repo.id).values(**values))
        index_repo(hub, connection, repo.id)
        target = f"{repo.kind}:{repo.full_name}"
        audit.record(connection, caller.name, "repo.delete-files", target, sha256=sorted(held))


def _held(connection: Connection, repo_id: int, wanted: set[str]) -> set[str]:
    held: set[str] = set()
    for some in _batches(sorted(wanted)):
        held |= set(
            connection.scalars(
                select(repo_blobs.c.sha256).where(
                    repo_blobs.c.repo_id == repo_id, repo_blobs.c.sha256.in_(some)
                )
            )
        )
    return held


def _rewritten(
    connection: Connection, repo_id: int, old: Mapping[str, Row[Any]], gone: set[str]
) -> dict[str, str]:
    """Old commit id to new, for all of `old`; one that had none of the files stays the same if all
    before it do."""
    new: dict[str, str] = {}
    trees_by_old: dict[str, trees.Entry] = {}
    for row in _oldest_first(old):
        if row.tree not in trees_by_old:
            edits: dict[str, trees.Entry | None] = {
                path: None
                for path, entry in trees.walk(connection, row.tree)
                if entry.lfs and entry.key in gone
            }
            trees_by_old[row.tree] = trees.changed(connection, row.tree, edits)
        new[row.oid] = versions.save_commit(
            connection,
            repo_id,
            trees_by_old[row.tree],
            [new[parent] for parent in row.parents if parent in new],
            row.author,
            row.title,
            row.message,
            at=row.created_at,
        )
    return new


def _oldest_first(rows: Mapping[str, Row[Any]]) -> Iterable[Row[Any]]:
    """Commits, each after those it comes from."""
    done: set[str] = set()
    for start in rows.values():
        waiting = [start]
        while waiting:
            row = waiting[-1]
            before = [rows[one] for one in row.parents if one in rows and one not in done]
            if before and row.oid not in done:
                waiting += before
                continue
            waiting.pop()
            if row.oid not in done:
                done.add(row.oid)
                yield row


def _point_merges(connection: Connection, repo_id: int, new: Mapping[str, str]) -> None:
    merged = select(discussions.c.number, discussions.c.merge_commit).where(
        discussions.c.repo_id == repo_id, discussions.c.merge_commit.is_not(None)
    )
    for number, oid in connection.execute(merged).all():
        same = (discussions.c.repo_id == repo_id) & (discussions.c.number == number)
        connection.execute(update(discussions).where(same).values(merge_commit=new.get(oid)))


def _batches(items: list[str], size: int = 500) -> Iterable[list[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
