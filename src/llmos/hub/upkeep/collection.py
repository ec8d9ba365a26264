"""Garbage collection: what no reference of any repository leads to is removed after a grace.

Marked first, from a snapshot, without stopping anybody; swept in short transactions, each of which
looks again at what was referenced meanwhile. A file is removed only if nobody sent it again since.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, exists, select, text

from llmos.hub.accounts import audit
from llmos.hub.database.connection import now
from llmos.hub.database.tables import blobs, commits, refs, repo_blobs, repos, trees
from llmos.hub.errors import HubError
from llmos.hub.hub import Hub
from llmos.hub.upkeep.marking import MANY, Reached, batches, reach
from llmos.hub.uploads.multipart import forget_old_parts
from llmos.hub.uploads.xet.chunklists import forget
from llmos.hub.uploads.xet.xorbs import forget_old_xorbs

SWEPT = (refs, commits, trees, blobs, repo_blobs)
TRIES = 20
XORBS_KEPT = 86400 * 1000  # milliseconds: uploads in progress count on chunks sent before


@dataclass(slots=True)
class Collected:
    """What was removed, or would be."""

    commits: int = 0
    trees: int = 0
    blobs: int = 0
    bytes: int = 0
    strays: int = 0  # files of the store that the database does not know
    xorb_bytes: int = 0
    skipped: list[str] = field(default_factory=list)  # repositories with damage: left alone


@dataclass(slots=True)
class _Marks:
    """What the snapshot showed."""

    at: int
    refs: dict[tuple[int, str], str] = field(default_factory=dict)
    live: dict[int, Reached] = field(default_factory=dict)
    dead_commits: list[tuple[int, str]] = field(default_factory=list)
    dead_trees: list[str] = field(default_factory=list)
    dead_holds: list[tuple[int, str]] = field(default_factory=list)  # repository, blob
    skipped: list[str] = field(default_factory=list)


def collect(hub: Hub, *, grace: int | None = None, dry: bool = False) -> Collected:
    """Remove what nothing refers to and what is older than `grace` seconds (the settings').

    With `dry` nothing is removed, only counted. A repository in which something is missing keeps
    all it has, and as long as there is one, no tree is removed.
    """
    before = now() - 1000 * (hub.settings.grace if grace is None else grace)
    marks = _mark(hub, before)
    done = Collected(skipped=marks.skipped)
    if dry:
        _count(hub, marks, before, done)
        return done
    idle = min(before, now() - XORBS_KEPT)
    forget_old_parts(hub, idle)
    done.xorb_bytes = forget_old_xorbs(hub, idle)
    _sweep(hub, marks, done)
    _sweep_blobs(hub, before, done)
    _sweep_strays(hub, before, done)
    with hub.database.write() as connection:
        counts = {"commits": done.commits, "trees": done.trees, "blobs": done.blobs}
        audit.record(connection, "llmos hub gc", "hub.collect", "hub", **counts)
    return done


def _mark(hub: Hub, before: int) -> _Marks:
    marks = _Marks(at=now())
    live_trees: set[str] = set()
    with hub.database.snapshot() as connection:
        names = {row.id: row.full_name for row in connection.execute(select(repos))}
        starts: dict[int, set[str]] = {repo_id: set() for repo_id in names}
        for row in connection.execute(select(refs)):
            marks.refs[row.repo_id, row.name] = row.commit
            starts[row.repo_id].add(row.commit)
        for row in connection.execute(select(commits).where(commits.c.created_at >= before)):
            starts[row.repo_id].add(row.oid)
        for repo_id, name in names.items():
            live = reach(connection, repo_id, starts[repo_id])
            marks.live[repo_id] = Reached(trees=set(), lost=live.lost)
            live_trees |= live.trees
            if live.lost:
                marks.skipped.append(name)
                continue
            of = commits.c.repo_id == repo_id
            for oid in connection.scalars(select(commits.c.oid).where(of)):
                if oid not in live.commits:
                    marks.dead_commits.append((repo_id, oid))
            held = select(repo_blobs.c.sha256).where(
                repo_blobs.c.repo_id == repo_id, repo_blobs.c.created_at < before
            )
            for sha256 in connection.scalars(held):
                if sha256 not in live.blobs:
                    marks.dead_holds.append((repo_id, sha256))
        if not marks.skipped:
            marks.dead_trees = [
                key for key in connection.scalars(select(trees.c.key)) if key not in live_trees
            ]
    return marks


def _count(hub: Hub, marks: _Marks, before: int, done: Collected) -> None:
    done.commits, done.trees = len(marks.dead_commits), len(marks.dead_trees)
    dying = Counter(sha256 for _, sha256 in marks.dead_holds)
    with hub.database.read() as connection:
        held: Counter[str] = Counter(connection.scalars(select(repo_blobs.c.sha256)))
        known = set()
        for row in connection.execute(select(blobs.c.sha256, blobs.c.size, blobs.c.created_at)):
            known.add(row.sha256)
            if row.created_at < before and held[row.sha256] == dying[row.sha256]:
                done.blobs += 1
                done.bytes += row.size
    for one in hub.blobs.list():
        if one.sha256 not in known and one.modified < before:
            done.strays += 1
            done.bytes += one.size


def _sweep(hub: Hub, marks: _Marks, done: Collected) -> None:
    for some in batches(marks.dead_commits):
        with _alone(hub) as connection:
            _mark_again(connection, marks)
            for repo_id, oid in some:
                if oid not in marks.live[repo_id].commits:
                    same = (commits.c.repo_id == repo_id) & (commits.c.oid == oid)
                    done.commits += connection.execute(delete(commits).where(same)).rowcount
    for keys in batches(marks.dead_trees):
        with _alone(hub) as connection:
            _mark_again(connection, marks)
            live = set().union(*(one.trees for one in marks.live.values()))
            gone = trees.c.key.in_([key for key in keys if key not in live])
            done.trees += connection.execute(delete(trees).where(gone)).rowcount
    for holds in batches(marks.dead_holds):
        with _alone(hub) as connection:
            _mark_again(connection, marks)
            for repo_id, sha256 in holds:
                if sha256 not in marks.live[repo_id].blobs:
                    same = (repo_blobs.c.repo_id == repo_id) & (repo_blobs.c.sha256 == sha256)
                    old = repo_blobs.c.created_at < marks.at  # not sent again meanwhile
                    connection.execute(delete(repo_blobs).where(same, old))


def _mark_again(connection: Connection, marks: _Marks) -> None:
    """Mark what commits made since the snapshot lead to: they may use what was dead then."""
    starts: dict[int, set[str]] = {}
    for row in connection.execute(select(refs)):
        if marks.refs.get((row.repo_id, row.name)) != row.commit:
            marks.refs[row.repo_id, row.name] = row.commit
            starts.setdefault(row.repo_id, set()).add(row.commit)
    for row in connection.execute(select(commits).where(commits.c.created_at >= marks.at - 1000)):
        starts.setdefault(row.repo_id, set()).add(row.oid)
    for repo_id, oids in starts.items():
        reach(connection, repo_id, oids, marks.live.setdefault(repo_id, Reached()))


def _sweep_blobs(hub: Hub, before: int, done: Collected) -> None:
    held = exists().where(repo_blobs.c.sha256 == blobs.c.sha256)
    free = (blobs.c.created_at < before) & ~held
    with hub.database.read() as connection:
        found = connection.scalars(select(blobs.c.sha256).where(free)).all()
    for some in batches(found, MANY // 2):
        with _alone(hub) as connection:
            rows = connection.execute(select(blobs).where(free, blobs.c.sha256.in_(some))).all()
            for row in rows:
                if hub.blobs.delete_old(row.sha256, before):
                    forget(connection, row.sha256)
                    connection.execute(delete(blobs).where(blobs.c.sha256 == row.sha256))
                    done.blobs += 1
                    done.bytes += row.size


def _sweep_strays(hub: Hub, before: int, done: Collected) -> None:
    old = (one for one in hub.blobs.list() if one.modified < before)
    for some in batches(old, MANY // 2):
        with _alone(hub) as connection:
            names = [one.sha256 for one in some]
            known = set(connection.scalars(select(blobs.c.sha256).where(blobs.c.sha256.in_(names))))
            for one in some:
                if one.sha256 not in known and hub.blobs.delete_old(one.sha256, before):
                    done.strays += 1
                    done.bytes += one.size


@contextmanager
def _alone(hub: Hub) -> Iterator[Connection]:
    """A transaction during which nobody else reads or writes what is swept.

    SQLite has one writer. PostgreSQL's tables are locked; while a commit holds them, this one gives
    way and tries again, before PostgreSQL would call it a deadlock.
    """
    for left in reversed(range(TRIES)):
        try:
            with hub.database.write() as connection:
                if not hub.database.sqlite:
                    connection.execute(text("SET LOCAL lock_timeout = '500ms'"))
                    names = ", ".join(table.name for table in SWEPT)
                    connection.execute(text(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"))
                locked = True
                yield connection
                return
        except HubError as error:
            if "locked" in locals() or error.status != 503 or not left:
                raise
            time.sleep(0.5)
