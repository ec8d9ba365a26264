"""Branches and tags of a repository: made, removed; a branch's history made one commit."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller
from llmos.hub.database.connection import now
from llmos.hub.database.tables import refs, repos
from llmos.hub.errors import bad_request, conflict, forbidden, revision_not_found, unprocessable
from llmos.hub.git import trees, versions
from llmos.hub.hub import Hub
from llmos.hub.repos.names import checked_reference
from llmos.hub.together.webhooks import tell_repo

START = {"branch": "refs/heads/", "tag": "refs/tags/"}
LONGEST_MESSAGE = 65_536


def all_of(connection: Connection, repo_id: int) -> list[Row[Any]]:
    """All references of a repository, by name."""
    ordered = select(refs).where(refs.c.repo_id == repo_id).order_by(refs.c.name)
    return list(connection.execute(ordered))


def add(
    hub: Hub,
    caller: Caller,
    repo: Row[Any],
    kind: str,
    name: str,
    revision: str,
    *,
    message: str | None = None,
) -> None:
    """A new branch or tag (`kind`) at a revision.

    Raises `HubError` 400 for a name that is not allowed, 404 for the revision, 409 when the name
    is taken.
    """
    if message and (len(message) > LONGEST_MESSAGE or "\0" in message):
        raise unprocessable(f"a tag's message is text of at most {LONGEST_MESSAGE} letters")
    with hub.database.write() as connection:
        commit = versions.resolve(connection, repo.id, revision)
        full = START[kind] + checked_reference(name)
        same = select(refs.c.name).where(refs.c.repo_id == repo.id, refs.c.name == full)
        if connection.execute(same).first():
            raise conflict(f"Reference {full} already exists")
        versions.add_ref(connection, repo.id, full, kind, commit.oid, message)
        _record(connection, caller, repo, f"{kind}.create", full, None, commit.oid)


def remove(hub: Hub, caller: Caller, repo: Row[Any], kind: str, name: str) -> None:
    """Remove a branch or tag. Raises `HubError` 403 for main, 404 when there is none."""
    full = START[kind] + name
    if full == versions.MAIN:
        raise forbidden("Cannot delete refs/heads/main: it is what the repository shows")
    with hub.database.write() as connection:
        commit = connection.execute(
            delete(refs)
            .where(refs.c.repo_id == repo.id, refs.c.name == full.replace("\0", ""))
            .returning(refs.c.commit)
        ).scalar()
        if commit is None:
            raise revision_not_found(name)
        _record(connection, caller, repo, f"{kind}.delete", full, commit, None)


def squash(
    hub: Hub, caller: Caller, repo: Row[Any], branch: str, message: str | None = None
) -> str:
    """Let a branch begin anew with one commit that holds what it holds now; returns its id.

    Raises `HubError` 404 when there is no such revision, 400 when it is no branch, 412 when
    somebody commits to it at this moment.
    """
    title, _, more = (message or f"Super-squash branch '{branch}'").strip().partition("\n")
    with hub.database.write() as connection:
        ref = versions.find_ref(connection, repo.id, branch)
        if ref is None:
            raise revision_not_found(branch)
        if ref.kind == "tag":
            raise bad_request(f"Only a branch can be squashed; {branch} is a tag")
        head = versions.resolve(connection, repo.id, ref.commit)
        root = trees.changed(connection, head.tree, {})
        oid = versions.save_commit(
            connection, repo.id, root, [], caller.name, title[:1000], more.strip()[:LONGEST_MESSAGE]
        )
        versions.move_ref(connection, repo.id, ref.name, head.oid, oid)
        values: dict[str, Any] = {"updated_at": now()}
        if ref.name == versions.MAIN:
            values["head"] = oid
        connection.execute(update(repos).where(repos.c.id == repo.id).values(**values))
        _record(connection, caller, repo, "branch.squash", ref.name, head.oid, oid)
    return oid


def _record(
    connection: Connection,
    caller: Caller,
    repo: Row[Any],
    action: str,
    name: str,
    old: str | None,
    new: str | None,
) -> None:
    target = f"{repo.kind}:{repo.full_name}"
    audit.record(connection, caller.name, action, target, ref=name, commit=new or old)
    tell_repo(connection, repo, "update", "repo.content", updated_refs=[(name, old, new)])
