"""Repositories made, copied, moved, deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update
from sqlalchemy.exc import IntegrityError

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller, account_row, may_create_in
from llmos.hub.database.connection import now
from llmos.hub.database.tables import redirects, repos
from llmos.hub.errors import HubError, bad_request, conflict, forbidden, unauthorized
from llmos.hub.git import trees, versions
from llmos.hub.hub import Hub
from llmos.hub.repos.attributes import DEFAULT_ATTRIBUTES
from llmos.hub.repos.content import keep_bytes, note_blobs, used_bytes
from llmos.hub.repos.indexing import Reader, index_repo
from llmos.hub.repos.names import checked_repo_name
from llmos.hub.together.collection_items import follow_move, forget_target
from llmos.hub.together.webhooks import tell_repo

SHARING = ("open", "federated", "metadata")


def repo_by_name(connection: Connection, kind: str, full_name: str) -> Row[Any] | None:
    """The repository of that name (any case of letters), also if it is private."""
    return connection.execute(
        select(repos).where(repos.c.kind == kind, repos.c.name_key == full_name.lower())
    ).first()


def owner_and_key(
    connection: Connection, caller: Caller, kind: str, full_name: str
) -> tuple[Row[Any] | None, str]:
    """The account that a repository of this name would belong to, and the name's key.

    Raises `HubError` 401 or 403 when the caller may not make repositories there, 400 for a name
    that is not allowed. Short names (without owner) are for admins of the hub.
    """
    owner_name, slash, name = full_name.rpartition("/")
    checked_repo_name(name)
    owner = account_row(connection, owner_name) if owner_name else None
    key = full_name.lower()
    if not caller.known:
        raise unauthorized()
    if (slash and owner is None) or not may_create_in(caller, owner and owner.id, key):
        raise forbidden(
            f"You don't have the rights to create a {kind} under the namespace "
            f"{owner_name[:96] or '(none)'!r}"
        )
    return owner, key


@contextmanager
def name_race(kind: str, full_name: str) -> Iterator[None]:
    """Of two that make the same name at once, PostgreSQL refuses the second: answer 409."""
    try:
        yield
    except IntegrityError:
        about = {"kind": kind, "name": full_name}
        line = "A {kind} repository called {name} already exists"
        raise HubError(409, line, values=about) from None


def make_repo(
    hub: Hub,
    caller: Caller,
    kind: str,
    full_name: str,
    *,
    private: bool | None = None,
    sharing: str = "open",
    files: Mapping[str, bytes] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Row[Any]:
    """A new repository with a first commit of `files` (and .gitattributes).

    `private` None is what the owner has set for new repositories. Raises `HubError` 409 when there
    is one of that name, 401 or 403 when the caller may not, 400 for a name that is not allowed.
    """
    with hub.database.read() as connection:  # nothing is stored for those who may not
        owner_and_key(connection, caller, kind, full_name)
    contents = {".gitattributes": DEFAULT_ATTRIBUTES, **(files or {})}
    entries = {path: keep_bytes(hub, content) for path, content in contents.items()}
    reader = Reader(hub)
    reader.prepare(entries)
    with name_race(kind, full_name), hub.database.write() as connection:
        values = {"private": private, "sharing": sharing, "facts": dict(facts or {})}
        row = _insert(connection, caller, kind, full_name, values)
        root = trees.changed(connection, None, entries)
        sizes = {one.key: one.size for one in entries.values()}
        _first_commit(connection, caller, row.id, root, sizes, "initial commit")
        index_repo(hub, connection, row.id, reader)
        audit.record(
            connection, caller.name, "repo.create", f"{kind}:{row.full_name}", private=row.private
        )
        made = connection.execute(select(repos).where(repos.c.id == row.id)).one()
        tell_repo(connection, made, "create")
        return made


def copy_repo(
    hub: Hub, caller: Caller, source: Row[Any], full_name: str, *, private: bool | None = None
) -> Row[Any]:
    """A new repository with the files that `source` has on main, in one commit.

    It is as private (unless `private` says otherwise), gated and shared as its source. Raises
    `HubError` as `make_repo` does, and 403 when it would open what its source does not.
    """
    if source.sharing != "open" and private is False:
        raise forbidden("The data of this repository may not be copied to a public one")
    with hub.database.read() as connection:
        owner_and_key(connection, caller, source.kind, full_name)
        commit = versions.resolve(connection, source.id, source.head)
        sizes = {entry.key: entry.size for _, entry in trees.walk(connection, commit.tree)}
        root = trees.folder_entry(trees.load(connection, commit.tree))
    hidden = source.private or None  # else as the new owner has it
    values = {
        "private": hidden if private is None else private,
        "sharing": source.sharing,
        "gated": source.gated,
        "facts": {key: source.facts[key] for key in ("sdk",) if key in source.facts},
    }
    with name_race(source.kind, full_name), hub.database.write() as connection:
        row = _insert(connection, caller, source.kind, full_name, values)
        title = f"Duplicate from {source.full_name}"
        _first_commit(connection, caller, row.id, root, sizes, title)
        index_repo(hub, connection, row.id)
        target = f"{source.kind}:{row.full_name}"
        audit.record(connection, caller.name, "repo.duplicate", target, source=source.full_name)
        made = connection.execute(select(repos).where(repos.c.id == row.id)).one()
        tell_repo(connection, made, "create")
        return made


def _insert(
    connection: Connection, caller: Caller, kind: str, full_name: str, values: dict[str, Any]
) -> Row[Any]:
    owner, key = owner_and_key(connection, caller, kind, full_name)
    if repo_by_name(connection, kind, full_name):
        raise conflict(f"You already created this {kind} repo: {full_name}")
    if values["sharing"] not in SHARING:
        raise bad_request(f"sharing {values['sharing']}: choose one of {', '.join(SHARING)}")
    if values["private"] is None:
        values["private"] = bool(owner is not None and owner.private_default)
    same = (redirects.c.kind == kind) & (redirects.c.name_key == key)
    connection.execute(delete(redirects).where(same))
    name = full_name.rpartition("/")[2]
    at = now()
    return connection.execute(
        repos.insert().returning(*repos.c),
        {
            "kind": kind,
            "owner_id": owner.id if owner else None,
            "full_name": f"{owner.name}/{name}" if owner else name,
            "name_key": key,
            "created_by": caller.id,
            "created_at": at,
            "updated_at": at,
            **values,
        },
    ).one()


def _first_commit(
    connection: Connection,
    caller: Caller,
    repo_id: int,
    root: trees.Entry,
    sizes: Mapping[str, int],
    title: str,
) -> None:
    note_blobs(connection, repo_id, sizes)
    oid = versions.save_commit(connection, repo_id, root, [], caller.name, title)
    versions.add_ref(connection, repo_id, versions.MAIN, "branch", oid)
    used = used_bytes(connection, repo_id)
    connection.execute(update(repos).where(repos.c.id == repo_id).values(head=oid, used_bytes=used))


def delete_repo(hub: Hub, caller: Caller, repo: Row[Any]) -> None:
    """Delete a repository with all its versions; its blobs go with the next collection."""
    with hub.database.write() as connection:
        tell_repo(connection, repo, "delete")
        connection.execute(delete(repos).where(repos.c.id == repo.id))
        forget_target(connection, repo.kind, repo.full_name)
        audit.record(connection, caller.name, "repo.delete", f"{repo.kind}:{repo.full_name}")


def move_repo(hub: Hub, caller: Caller, repo: Row[Any], to: str) -> Row[Any]:
    """Give a repository another name; the old one leads to it. Raises `HubError` 409, 401, 403."""
    with name_race(repo.kind, to), hub.database.write() as connection:
        same = select(repos).where(repos.c.id == repo.id).with_for_update()
        repo = connection.execute(same).first() or repo  # its name may have changed meanwhile
        owner, key = owner_and_key(connection, caller, repo.kind, to)
        taken = repo_by_name(connection, repo.kind, to)
        if taken and (taken.id != repo.id or taken.full_name == to):
            raise HubError(409, f"A {repo.kind} repository called {to} already exists")
        both = redirects.c.name_key.in_([key, repo.name_key])
        connection.execute(delete(redirects).where(redirects.c.kind == repo.kind, both))
        if key != repo.name_key:
            old = {"kind": repo.kind, "name_key": repo.name_key, "repo_id": repo.id}
            connection.execute(redirects.insert(), old)
        name = to.rpartition("/")[2]
        full_name = f"{owner.name}/{name}" if owner else name
        moved = connection.execute(
            update(repos)
            .where(repos.c.id == repo.id)
            .values(owner_id=owner.id if owner else None, full_name=full_name, name_key=key)
            .returning(*repos.c)
        ).one()
        follow_move(connection, repo.kind, repo.full_name, full_name)
        audit.record(connection, caller.name, "repo.move", f"{repo.kind}:{repo.full_name}", to=to)
        tell_repo(connection, repo, "move", moved_to=(full_name, moved.owner_id))
        return moved
