"""Repositories made, moved, deleted."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, select

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller, account_row, may_create_in
from llmos.hub.database.connection import now
from llmos.hub.database.tables import redirects, repos
from llmos.hub.errors import HubError, conflict, forbidden
from llmos.hub.git import trees, versions
from llmos.hub.hub import Hub
from llmos.hub.repos.attributes import DEFAULT_ATTRIBUTES
from llmos.hub.repos.changes import keep_bytes, note_blobs
from llmos.hub.repos.names import checked_name

SHARING = ("open", "federated", "metadata")


def repo_by_name(connection: Connection, kind: str, full_name: str) -> Row[Any] | None:
    """The repository of that name (any case of letters), also if it is private."""
    return connection.execute(
        select(repos).where(repos.c.kind == kind, repos.c.name_key == full_name.lower())
    ).first()


def owner_and_key(
    connection: Connection, caller: Caller, kind: str, full_name: str
) -> tuple[int | None, str]:
    """The account that a repository of this name would belong to, and the name's key.

    Raises `HubError` 403 when the caller may not make repositories there.
    """
    owner_name, _, name = full_name.rpartition("/")
    checked_name(name, "repo name")
    owner = account_row(connection, owner_name) if owner_name else None
    key = full_name.lower()
    if (owner_name and owner is None) or not may_create_in(caller, owner and owner.id, key):
        raise forbidden(
            f"You don't have the rights to create a {kind} under the namespace "
            f"{owner_name or '(none)'!r}"
        )
    return (owner.id if owner else None), key


def make_repo(
    hub: Hub,
    caller: Caller,
    kind: str,
    full_name: str,
    *,
    private: bool = False,
    sharing: str = "open",
    files: dict[str, bytes] | None = None,
    facts: dict[str, Any] | None = None,
) -> Row[Any]:
    """A new repository with a first commit of `files` (and .gitattributes).

    Raises `HubError` 409 when there is one of that name, 403 when the caller may not.
    """
    files = {".gitattributes": DEFAULT_ATTRIBUTES, **(files or {})}
    entries = {path: keep_bytes(hub, content) for path, content in files.items()}
    with hub.database.write() as connection:
        owner_id, key = owner_and_key(connection, caller, kind, full_name)
        if repo_by_name(connection, kind, full_name):
            raise conflict(f"You already created this {kind} repo: {full_name}")
        at = now()
        connection.execute(
            delete(redirects).where(redirects.c.kind == kind, redirects.c.name_key == key)
        )
        repo_id = connection.execute(
            repos.insert().returning(repos.c.id),
            {
                "kind": kind,
                "owner_id": owner_id,
                "full_name": full_name,
                "name_key": key,
                "created_by": caller.id,
                "private": private,
                "sharing": sharing,
                "created_at": at,
                "updated_at": at,
                "facts": facts or {},
            },
        ).scalar_one()
        note_blobs(connection, repo_id, {one.key: one.size for one in entries.values()})
        root = trees.changed(connection, None, entries)
        oid = versions.save_commit(
            connection, repo_id, root, [], caller.name, "initial commit", at=at
        )
        versions.add_ref(connection, repo_id, versions.MAIN, "branch", oid)
        connection.execute(repos.update().where(repos.c.id == repo_id).values(head=oid))
        audit.record(connection, caller.name, "repo.create", f"{kind}:{full_name}", private=private)
        row = connection.execute(select(repos).where(repos.c.id == repo_id)).one()
    return row


def delete_repo(hub: Hub, caller: Caller, repo: Row[Any]) -> None:
    """Delete a repository with all its versions; its blobs go with the next collection."""
    with hub.database.write() as connection:
        connection.execute(delete(repos).where(repos.c.id == repo.id))
        audit.record(connection, caller.name, "repo.delete", f"{repo.kind}:{repo.full_name}")


def move_repo(hub: Hub, caller: Caller, repo: Row[Any], to: str) -> None:
    """Give a repository another name; the old one leads to it. Raises `HubError` 409, 403."""
    with hub.database.write() as connection:
        owner_id, key = owner_and_key(connection, caller, repo.kind, to)
        taken = repo_by_name(connection, repo.kind, to)
        if taken and taken.id != repo.id:
            raise HubError(409, f"A {repo.kind} repository called {to} already exists")
        both = redirects.c.name_key.in_([key, repo.name_key])
        connection.execute(delete(redirects).where(redirects.c.kind == repo.kind, both))
        if key != repo.name_key:
            old = {"kind": repo.kind, "name_key": repo.name_key, "repo_id": repo.id}
            connection.execute(redirects.insert(), old)
        connection.execute(
            repos.update()
            .where(repos.c.id == repo.id)
            .values(owner_id=owner_id, full_name=to, name_key=key)
        )
        audit.record(connection, caller.name, "repo.move", f"{repo.kind}:{repo.full_name}", to=to)
