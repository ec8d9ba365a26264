"""What is in collections: added, described, moved, taken out."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller, Right, right_on
from llmos.hub.database.tables import collection_items, repos
from llmos.hub.errors import HubError, bad_request, conflict
from llmos.hub.together.collections import find_collection, put_at, touch
from llmos.hub.together.texts import checked_text

REPOS = ("model", "dataset", "space", "run")
KINDS = (*REPOS, "paper", "collection")
PAPER = re.compile(r"\d{4}\.\d{4,5}(v\d+)?", re.ASCII)
LONGEST_NOTE = 500
MOST_ITEMS = 500


def items_of(connection: Connection, ids: Iterable[int]) -> dict[int, list[Row[Any]]]:
    """The items of these collections in their order, by collection."""
    found: dict[int, list[Row[Any]]] = {one: [] for one in ids}
    rows = connection.execute(
        select(collection_items)
        .where(collection_items.c.collection_id.in_(list(found)))
        .order_by(collection_items.c.position, collection_items.c.id)
    )
    for row in rows:
        found[row.collection_id].append(row)
    return found


def readable(
    connection: Connection, caller: Caller, rows: Sequence[Row[Any]]
) -> dict[int, Row[Any] | None]:
    """Those items that the caller may see, by id, each with its repository (None: a paper, or
    another collection)."""
    keys = {row.target.lower() for row in rows if row.kind in REPOS}
    there: dict[tuple[str, str], Row[Any]] = {}
    if keys:
        for repo in connection.execute(select(repos).where(repos.c.name_key.in_(keys))):
            if right_on(connection, caller, repo) >= Right.READ:
                there[repo.kind, repo.name_key] = repo
    found: dict[int, Row[Any] | None] = {}
    for row in rows:
        if row.kind in REPOS:
            key = (row.kind, row.target.lower())
            if key in there:
                found[row.id] = there[key]
        elif row.kind == "paper" or _collection(connection, caller, row.target) is not None:
            found[row.id] = None
    return found


def _collection(connection: Connection, caller: Caller, slug: str) -> Row[Any] | None:
    try:
        return find_collection(connection, caller, slug)
    except HubError:
        return None


def _target(connection: Connection, caller: Caller, kind: str, name: str) -> str:
    """The name that an item is kept under. Raises `HubError` 404 for what is not there."""
    if kind not in KINDS:
        raise bad_request(f"type {kind[:40]}: choose one of {', '.join(KINDS)}")
    if kind == "paper":
        if not PAPER.fullmatch(name):
            raise HubError(404, f"There is no paper {name[:40]}: give its arXiv number")
        return name
    if kind == "collection":
        return str(find_collection(connection, caller, name).collection_id)
    repo = connection.execute(
        select(repos).where(repos.c.kind == kind, repos.c.name_key == name.lower())
    ).first()
    if repo is None or right_on(connection, caller, repo) < Right.READ:
        raise HubError(404, f"There is no {kind} {name[:200]}")
    return str(repo.full_name)


def add_item(
    connection: Connection, caller: Caller, slug: str, kind: str, name: str, note: str = ""
) -> Row[Any]:
    """Add a repository, a paper or another collection at the end; returns the collection.

    Raises `HubError` 409 when it is in the collection already, 404, 403, 400.
    """
    row = touch(connection, caller, slug)
    target = _target(connection, caller, kind, name)
    there = items_of(connection, [row.id])[row.id]
    if any((item.kind, item.target.lower()) == (kind, target.lower()) for item in there):
        raise conflict(f"{name} is in this collection already")
    if kind == "collection" and target == row.collection_id:
        raise bad_request("A collection cannot contain itself")
    if len(there) >= MOST_ITEMS:
        raise bad_request(f"This collection has {len(there)} items; more are not kept")
    item = {
        "collection_id": row.id,
        "item_id": secrets.token_hex(12),
        "kind": kind,
        "target": target,
        "note": checked_text(note, "the note", LONGEST_NOTE, empty=True) or None,
        "position": max((item.position for item in there), default=-1) + 1,
    }
    connection.execute(collection_items.insert(), item)
    _audit(connection, caller, row, "add")
    return row


def change_item(
    connection: Connection,
    caller: Caller,
    slug: str,
    item_id: str,
    *,
    note: str | None = None,
    position: int | None = None,
) -> None:
    """Give an item another note or place; None leaves it. Raises `HubError` 404, 403, 400."""
    row = touch(connection, caller, slug)
    there = items_of(connection, [row.id])[row.id]
    item = _item(there, item_id)
    if note is not None:
        text = checked_text(note, "the note", LONGEST_NOTE, empty=True) or None
        this = collection_items.c.id == item.id
        connection.execute(update(collection_items).where(this).values(note=text))
    if position is not None:
        others = [one.id for one in there if one.id != item.id]
        put_at(connection, collection_items, others, item.id, position)
    _audit(connection, caller, row, "change-item")


def remove_item(connection: Connection, caller: Caller, slug: str, item_id: str) -> None:
    """Take an item out. Raises `HubError` 404, 403."""
    row = touch(connection, caller, slug)
    item = _item(items_of(connection, [row.id])[row.id], item_id)
    connection.execute(delete(collection_items).where(collection_items.c.id == item.id))
    _audit(connection, caller, row, "remove-item")


def follow_move(connection: Connection, kind: str, old: str, new: str) -> None:
    """A repository has another name now: it stays in the collections that list it."""
    forget_target(connection, kind, new)  # what once had that name is no longer there
    moved = (collection_items.c.kind == kind) & (collection_items.c.target == old)
    connection.execute(update(collection_items).where(moved).values(target=new))


def forget_target(connection: Connection, kind: str, name: str) -> None:
    """Take what is no longer there out of all collections."""
    gone = (collection_items.c.kind == kind) & (collection_items.c.target == name)
    connection.execute(delete(collection_items).where(gone))


def _item(there: Sequence[Row[Any]], item_id: str) -> Row[Any]:
    for item in there:
        if item.item_id == item_id:
            return item
    raise HubError(404, f"There is no item {item_id[:40]} in this collection")


def _audit(connection: Connection, caller: Caller, row: Row[Any], what: str) -> None:
    target = f"{row.owner}/{row.collection_id}"
    audit.record(connection, caller.name, f"collection.{what}", target)
