"""Merging a pull request: a three-way merge of trees.

Files are taken whole: one that was changed on both sides, in different ways, is a conflict and is
named; nothing is merged within a file. A merge commit has two parents: the branch's head and the
pull request's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller
from llmos.hub.database.tables import commits, refs
from llmos.hub.errors import bad_request, conflict, revision_not_found
from llmos.hub.git import trees, versions
from llmos.hub.hub import Hub
from llmos.hub.repos.changes import Changes, commit_on
from llmos.hub.repos.indexing import index_repo
from llmos.hub.together import comments
from llmos.hub.together.discussions import change, discussion_row, target_of
from llmos.hub.together.notifications import notify_people
from llmos.hub.together.pull_requests import START
from llmos.hub.together.webhooks import tell_discussion


@dataclass(slots=True)
class Sides:
    """The commits of a merge: `base` is the newest that both have (None: none), `ours` the head of
    the branch, `theirs` that of the pull request. `after` is what the merge does to ours."""

    base: Row[Any] | None
    ours: Row[Any]
    theirs: Row[Any]
    added: dict[str, trees.Entry] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)


def sides_of(connection: Connection, discussion: Row[Any]) -> Sides:
    """What merging a pull request would do. Raises `HubError` 404 when its branch is gone."""
    repo_id = discussion.repo_id
    ours = _head(connection, repo_id, discussion.base)
    theirs = _head(connection, repo_id, f"{START}{discussion.number}")
    base_oid = versions.merge_base(connection, repo_id, ours.oid, theirs.oid)
    base = _commit(connection, repo_id, base_oid) if base_oid else None
    sides = Sides(base, ours, theirs)
    for path, before, after in trees.differences(
        connection, base.tree if base else None, theirs.tree
    ):
        found = trees.find(connection, ours.tree, path)
        current = None if found and found.directory else found
        if current == after:
            continue
        if current != before:
            sides.conflicts.append(path)
        elif after is None:
            sides.removed.append(path)
        else:
            sides.added[path] = after
    gone = set(sides.removed)
    blocked = [path for path in sides.added if _in_the_way(connection, ours.tree, path, gone)]
    for path in blocked:
        del sides.added[path]
    sides.conflicts = sorted([*sides.conflicts, *blocked])
    return sides


def _in_the_way(connection: Connection, root: str, path: str, gone: set[str]) -> bool:
    """Whether a file stands where `path` needs a folder, or a folder where it needs to be a file;
    those in `gone` do not count."""
    parts = path.split("/")
    for end in range(1, len(parts)):
        folder = "/".join(parts[:end])
        above = trees.find(connection, root, folder)
        if above is None or not above.directory:
            return above is not None and folder not in gone
    entry = trees.find(connection, root, path)
    if entry is None or not entry.directory:
        return False
    return any(name not in gone for name, _ in trees.walk(connection, entry.key, prefix=f"{path}/"))


def _head(connection: Connection, repo_id: int, name: str) -> Row[Any]:
    oid = connection.execute(
        select(refs.c.commit).where(refs.c.repo_id == repo_id, refs.c.name == name)
    ).scalar()
    if oid is None:
        raise revision_not_found(name)
    return _commit(connection, repo_id, oid)


def _commit(connection: Connection, repo_id: int, oid: str) -> Row[Any]:
    return connection.execute(
        select(commits).where(commits.c.repo_id == repo_id, commits.c.oid == oid)
    ).one()


def merge(hub: Hub, caller: Caller, repo: Row[Any], number: int, text: str = "") -> str:
    """Merge a pull request into its branch, with a comment if `text` is given; returns the merge
    commit.

    Raises `HubError` 409 with `conflicts` (paths) when both sides changed the same files, 400
    unless it is an open pull request, 404 when its branch is gone, 412 when somebody commits to
    the branch at this moment.
    """
    with hub.database.write() as connection:
        discussion = discussion_row(connection, repo.id, number, lock=True)
        if not discussion.pull_request:
            raise bad_request(f"{number} is a discussion, no pull request")
        if discussion.status != "open":
            raise bad_request(
                f"The pull request is {discussion.status}; only an open one can be merged"
            )
        sides = sides_of(connection, discussion)
        if sides.conflicts:
            some = ", ".join(sides.conflicts[:10])
            raise conflict(
                f"Both sides changed {some}: commit to the pull request what shall stay, from "
                f"{discussion.base} as it is now, or open another one",
                conflicts=sides.conflicts,
            )
        made = Changes(
            f"{discussion.title} (#{number})",
            f"Merge refs/pr/{number}, opened by {discussion.author}",
            parent=sides.ours.oid,
            added=sides.added,
            removed=sides.removed,
        )
        ref = versions.find_ref(connection, repo.id, discussion.base)
        if ref is None:
            raise revision_not_found(discussion.base)
        oid = commit_on(connection, caller, repo, ref, made, parents=[sides.theirs.oid])
        if ref.name == versions.MAIN:
            index_repo(hub, connection, repo.id)
        change(connection, discussion, status="merged", merge_commit=oid)
        told = {"status": "merged"}
        comments.add_event(connection, repo.id, number, caller.name, "status-change", told)
        if text:
            comments.add_comment(connection, caller, repo, number, text)
        notify_people(connection, caller, repo, number, text)
        tell_discussion(connection, repo, discussion_row(connection, repo.id, number), "update")
        target = target_of(repo, number)
        audit.record(connection, caller.name, "pull-request.merge", target, commit=oid)
    return oid
