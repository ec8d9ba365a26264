"""Collections: repositories, papers and other collections that somebody lists under a title.

A collection's slug is OWNER/TITLE-IN-WORDS-ID: the id finds it, whatever the title is by now. Items
that a reader may not see are left out for that reader.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, delete, func, select, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller, account_row, role_in
from llmos.hub.database.connection import now
from llmos.hub.database.tables import accounts, collection_items, collections
from llmos.hub.errors import HubError, bad_request, conflict, forbidden
from llmos.hub.together.texts import checked_text, checked_title

THEMES = ("orange", "blue", "green", "purple", "pink", "indigo")
LONGEST_DESCRIPTION = 1000
MOST_OF_AN_ACCOUNT = 1000
SORTS = ("lastModified", "trending", "upvotes")  # all three: the newest change first
WITH_OWNER = select(collections, accounts.c.name.label("owner"), accounts.c.kind).join(
    accounts, accounts.c.id == collections.c.account_id
)


def slug_of(row: Row[Any]) -> str:
    """OWNER/TITLE-IN-WORDS-ID; `row` with the owner's name as `owner`."""
    plain = unicodedata.normalize("NFKD", row.title).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain)[:80].strip("-")
    return f"{row.owner}/{'-'.join(filter(None, [words, row.collection_id]))}"


def _visible(caller: Caller) -> ColumnElement[bool]:
    shown: ColumnElement[bool] = collections.c.private.is_(False)
    if caller.admin:
        return shown | collections.c.private.is_(True)
    if caller.id is not None:
        shown |= collections.c.account_id.in_([caller.id, *caller.roles])
    return shown


def find_collection(
    connection: Connection, caller: Caller, slug: str, *, lock: bool = False
) -> Row[Any]:
    """The collection whose slug ends in this one's id, with its `owner`. Raises `HubError` 404,
    the same for missing and private ones."""
    object_id = slug.rpartition("/")[2].rpartition("-")[2].lower()
    wanted = WITH_OWNER.where(collections.c.collection_id == object_id, _visible(caller))
    row = connection.execute(wanted.with_for_update(of=collections) if lock else wanted).first()
    if row is None:
        raise HubError(404, "Collection not found")
    return row


def to_change(connection: Connection, caller: Caller, slug: str, *, lock: bool = False) -> Row[Any]:
    """A collection that the caller may change: its owner, and an organisation's maintainers and
    admins. Raises `HubError` 404, 403."""
    row = find_collection(connection, caller, slug, lock=lock)
    if not may_change(caller, row.account_id):
        raise forbidden("Only its owner may change a collection")
    return row


def may_change(caller: Caller, account_id: int) -> bool:
    """Whether the caller may make and change collections of an account."""
    whole = caller.may_write and caller.scope != "fineGrained"  # not a token for repositories
    return whole and role_in(caller, account_id) in ("maintainer", "admin")


def list_collections(
    connection: Connection,
    caller: Caller,
    *,
    owners: Sequence[str] = (),
    items: Sequence[tuple[str, str]] = (),
    search: str = "",
    start: int = 0,
    limit: int = 20,
) -> Sequence[Row[Any]]:
    """Collections that the caller may see, with their `owner`: of these owners, with one of these
    items (kind, name), with a word in the title."""
    wanted = WITH_OWNER.where(_visible(caller))
    if owners:
        wanted = wanted.where(accounts.c.name_key.in_([name.lower() for name in owners]))
    if items:
        condition: ColumnElement[bool] = collection_items.c.id.is_(None)
        for kind, target in items:
            same = (collection_items.c.kind == kind) & (collection_items.c.target == target)
            condition |= same
        wanted = wanted.where(
            collections.c.id.in_(select(collection_items.c.collection_id).where(condition))
        )
    if search:
        wanted = wanted.where(
            func.lower(collections.c.title).contains(search.lower(), autoescape=True)
        )
    newest = (collections.c.updated_at.desc(), collections.c.id.desc())
    return connection.execute(wanted.order_by(*newest).limit(limit).offset(start)).all()


def make_collection(
    connection: Connection,
    caller: Caller,
    owner: str,
    title: str,
    *,
    description: str = "",
    private: bool = False,
) -> Row[Any]:
    """A new collection of an account. Raises `HubError` 403 when the caller may not make any
    there, 409 with its `slug` when there is one of that title, 400 for texts."""
    account = account_row(connection, owner)
    if account is None or not may_change(caller, account.id):
        raise forbidden(f"You may not make collections for {owner[:96]}")
    connection.execute(select(accounts.c.id).where(accounts.c.id == account.id).with_for_update())
    checked = checked_title(title)
    mine = collections.c.account_id == account.id
    same = connection.execute(WITH_OWNER.where(mine, collections.c.title == checked)).first()
    if same is not None:
        raise conflict(f"There is a collection {checked!r} already", slug=slug_of(same))
    count = connection.execute(
        select(func.count()).select_from(collections).where(mine)
    ).scalar_one()
    if count >= MOST_OF_AN_ACCOUNT:
        raise bad_request(f"{owner} has {count} collections; more are not kept")
    at = now()
    object_id = secrets.token_hex(12)
    row = {
        "account_id": account.id,
        "collection_id": object_id,
        "title": checked,
        "description": checked_text(
            description, "the description", LONGEST_DESCRIPTION, empty=True
        ),
        "private": private,
        "position": count,
        "created_at": at,
        "updated_at": at,
    }
    connection.execute(collections.insert(), row)
    audit.record(connection, caller.name, "collection.create", f"{owner}/{object_id}")
    return find_collection(connection, caller, object_id)


def change_collection(
    connection: Connection, caller: Caller, slug: str, changes: dict[str, Any]
) -> Row[Any]:
    """Change title, description, private, theme or position (of an account's collections).

    Raises `HubError` 404, 403, 409 when there is another one of that title, 400.
    """
    row = to_change(connection, caller, slug, lock=True)
    values: dict[str, Any] = {}
    if "title" in changes:
        values["title"] = checked_title(changes["title"])
        same = connection.execute(
            WITH_OWNER.where(
                collections.c.account_id == row.account_id,
                collections.c.title == values["title"],
                collections.c.id != row.id,
            )
        ).first()
        if same is not None:
            raise conflict(f"There is a collection {values['title']!r}", slug=slug_of(same))
    if "description" in changes:
        text = changes["description"]
        values["description"] = checked_text(
            text, "the description", LONGEST_DESCRIPTION, empty=True
        )
    if "theme" in changes:
        if changes["theme"] not in THEMES:
            raise bad_request(f"theme: choose one of {', '.join(THEMES)}")
        values["theme"] = changes["theme"]
    if "private" in changes:
        values["private"] = changes["private"]
    if "position" in changes:
        _move_collection(connection, row, changes["position"])
    this = collections.c.id == row.id
    connection.execute(update(collections).where(this).values(updated_at=now(), **values))
    target = f"{row.owner}/{row.collection_id}"
    audit.record(connection, caller.name, "collection.change", target, keys=sorted(changes))
    return find_collection(connection, caller, row.collection_id)


def _move_collection(connection: Connection, row: Row[Any], position: int) -> None:
    ids = list(
        connection.scalars(
            select(collections.c.id)
            .where(collections.c.account_id == row.account_id, collections.c.id != row.id)
            .order_by(collections.c.position, collections.c.id)
        )
    )
    put_at(connection, collections, ids, row.id, position)


def put_at(
    connection: Connection, table: Table, others: Sequence[int], moved: int, position: int
) -> None:
    """Number the rows of `table` anew: `moved` at a position among `others`, in their order."""
    order = [*others]
    order.insert(max(0, position), moved)
    for place, one in enumerate(order):
        connection.execute(
            update(table).where(table.c.id == one, table.c.position != place).values(position=place)
        )


def delete_collection(connection: Connection, caller: Caller, slug: str) -> None:
    """Delete a collection; what is in it stays. Raises `HubError` 404, 403."""
    row = to_change(connection, caller, slug, lock=True)
    connection.execute(delete(collections).where(collections.c.id == row.id))
    listed = (collection_items.c.kind == "collection") & (
        collection_items.c.target == row.collection_id
    )
    connection.execute(delete(collection_items).where(listed))
    target = f"{row.owner}/{row.collection_id}"
    audit.record(connection, caller.name, "collection.delete", target)


def touch(connection: Connection, caller: Caller, slug: str) -> Row[Any]:
    """A collection whose items the caller is about to change. Raises `HubError` 404, 403."""
    row = to_change(connection, caller, slug, lock=True)
    this = collections.c.id == row.id
    connection.execute(update(collections).where(this).values(updated_at=now()))
    return row
