"""/api/collections: lists of repositories under a title.

Public ones are for everybody; private ones for their owner, or the members of the organisation.
Whether the caller owns a collection is checked within; the routes name the least that is needed.
"""

from __future__ import annotations

import html
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from sqlalchemy import Connection, Row
from starlette.responses import Response

from llmos.hub.api.asking import Ask, answer, done, iso
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import bad_request
from llmos.hub.together import collection_items, collections

SHOWN_IN_LISTS = 4  # items of each collection
MOST = 100  # of a page


class Item(BaseModel):
    """What is put in: a repository's name, an arXiv number or a collection's slug."""

    id: str
    type: str


class NewCollection(BaseModel):
    """What is made, with a first item where there is one."""

    title: str
    namespace: str = ""
    description: str = ""
    private: bool = False
    item: Item | None = None


class NewItem(BaseModel):
    """An item with a note."""

    item: Item
    note: str = ""


class Metadata(BaseModel):
    """What may be changed of a collection; what is not given stays."""

    title: str | None = None
    description: str | None = None
    private: bool | None = None
    theme: str | None = None
    position: int | None = Field(None, ge=0, le=1_000_000)


class ItemChange(BaseModel):
    """What may be changed of an item; what is not given stays."""

    note: str | None = None
    position: int | None = Field(None, ge=0, le=1_000_000)


class BatchChange(BaseModel):
    """A change of one of several items."""

    id: str = Field(alias="_id")
    data: ItemChange


def list_collections(ask: Ask) -> Response:
    """Collections, filtered by owner, item (models/org/name) and search, a page at a time; with
    the first items of each."""
    if ask.query("sort") not in ("", *collections.SORTS):
        raise bad_request(f"sort: choose one of {', '.join(collections.SORTS)}")
    limit = max(1, ask.query_number("limit", 20, MOST))
    start = ask.query_number("cursor", 0, 10**9)
    with ask.hub.database.read() as connection:
        rows = collections.list_collections(
            connection,
            ask.caller,
            owners=ask.query_list("owner"),
            items=[_filter(text) for text in ask.query_list("item")],
            search=ask.query("q") or ask.query("search"),
            start=start,
            limit=limit + 1,
        )
        more = ask.next_link(cursor=start + limit) if len(rows) > limit else None
        shown = _shown(ask, connection, rows[:limit], SHOWN_IN_LISTS)
    for one in shown:
        del one["position"]  # clients number what they list
    return answer(shown, headers=more)


def _filter(text: str) -> tuple[str, str]:
    word, _, name = text.partition("/")
    kind = word.removesuffix("s")
    if kind not in collection_items.KINDS or not name:
        raise bad_request(f"item={text[:100]}: write models/OWNER/NAME, datasets/..., papers/...")
    return kind, name


def show(ask: Ask) -> Response:
    """One collection with all its items that the caller may see."""
    with ask.hub.database.read() as connection:
        row = collections.find_collection(connection, ask.caller, ask.value("slug"))
        return answer(_shown(ask, connection, [row])[0])


def _shown(
    ask: Ask, connection: Connection, rows: Any, most: int | None = None
) -> list[dict[str, Any]]:
    items = collection_items.items_of(connection, [row.id for row in rows])
    every = [item for some in items.values() for item in some]
    readable = collection_items.readable(connection, ask.caller, every)
    return [
        {
            "slug": collections.slug_of(row),
            "_id": row.collection_id,
            "title": row.title,
            "description": row.description or None,
            "owner": row.owner,
            "items": [
                _item(item, readable[item.id], connection, ask)
                for item in items[row.id]
                if item.id in readable
            ][:most],
            "lastUpdated": iso(row.updated_at),
            "position": row.position,
            "private": row.private,
            "gating": False,
            "theme": row.theme,
            "upvotes": 0,
            "isUpvotedByUser": False,
        }
        for row in rows
    ]


def _item(
    item: Row[Any], repo: Row[Any] | None, connection: Connection, ask: Ask
) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "_id": item.item_id,
        "id": item.target,
        "type": item.kind,
        "position": item.position,
    }
    if item.kind == "collection":
        inner = collections.find_collection(connection, ask.caller, item.target)
        shown |= {"slug": collections.slug_of(inner), "title": inner.title}
    if item.note:
        shown["note"] = {"text": item.note, "html": html.escape(item.note)}
    if repo is not None:
        shown |= {
            "id": repo.full_name,
            "author": repo.full_name.rpartition("/")[0],
            "repoType": repo.kind,
            "private": repo.private,
            "gated": repo.gated or False,
            "downloads": repo.downloads,
            "likes": repo.likes,
            "lastModified": iso(repo.updated_at),
        }
    return shown


def create(ask: Ask) -> Response:
    """Make a collection in one's own account or an organisation's (as its maintainer or admin,
    which is checked within). 409 tells the slug of the one that is there."""
    asked = ask.data
    assert isinstance(asked, NewCollection)
    with ask.hub.database.write() as connection:
        row = collections.make_collection(
            connection,
            ask.caller,
            asked.namespace or ask.caller.name,
            asked.title,
            description=asked.description,
            private=asked.private,
        )
        if asked.item:
            collection_items.add_item(
                connection, ask.caller, row.collection_id, asked.item.type, asked.item.id
            )
        return answer(_shown(ask, connection, [row])[0])


def change(ask: Ask) -> Response:
    """Change title, description, theme, position or whether it is private (its owner)."""
    asked = ask.data
    assert isinstance(asked, Metadata)
    changes = asked.model_dump(exclude_none=True)
    with ask.hub.database.write() as connection:
        row = collections.change_collection(connection, ask.caller, ask.value("slug"), changes)
        return answer({"success": True, "data": _shown(ask, connection, [row])[0]})


def remove(ask: Ask) -> Response:
    """Delete a collection (its owner)."""
    with ask.hub.database.write() as connection:
        collections.delete_collection(connection, ask.caller, ask.value("slug"))
    return done()


def add_item(ask: Ask) -> Response:
    """Put something in (its owner); 409 when it is in already."""
    asked = ask.data
    assert isinstance(asked, NewItem)
    slug, item = ask.value("slug"), asked.item
    with ask.hub.database.write() as connection:
        row = collection_items.add_item(
            connection, ask.caller, slug, item.type, item.id, asked.note
        )
        return answer(_shown(ask, connection, [row])[0])


def change_item(ask: Ask) -> Response:
    """Give an item another note or place (the collection's owner)."""
    asked = ask.data
    assert isinstance(asked, ItemChange)
    with ask.hub.database.write() as connection:
        _change(ask, connection, ask.value("item"), asked)
    return answer({"success": True})


def _change(ask: Ask, connection: Connection, item_id: str, asked: ItemChange) -> None:
    collection_items.change_item(
        connection,
        ask.caller,
        ask.value("slug"),
        item_id,
        note=asked.note,
        position=asked.position,
    )


def change_items(ask: Ask) -> Response:
    """Several such changes at once, as a list: all of them or none (the collection's owner)."""
    try:
        asked = BATCH.validate_json(ask.body)
    except ValidationError as error:
        raise bad_request(
            f"the body must be a list of changes: {error.errors()[0]['msg']}"
        ) from None
    with ask.hub.database.write() as connection:
        for one in asked:
            _change(ask, connection, one.id, one.data)
    return answer({"success": True})


def remove_item(ask: Ask) -> Response:
    """Take an item out (the collection's owner)."""
    slug, item_id = ask.value("slug"), ask.value("item")
    with ask.hub.database.write() as connection:
        collection_items.remove_item(connection, ask.caller, slug, item_id)
    return answer({"success": True})


BATCH = TypeAdapter(Annotated[list[BatchChange], Field(max_length=collection_items.MOST_ITEMS)])
ALL = "/api/collections"
ONE = f"{ALL}/{{namespace}}/{{slug}}"
ROUTES = [
    Route("GET", ALL, Need.PUBLIC, list_collections),
    Route("POST", ALL, Need.WRITING, create, NewCollection),
    Route("GET", ONE, Need.PUBLIC, show),
    Route("PATCH", ONE, Need.WRITING, change, Metadata),
    Route("DELETE", ONE, Need.WRITING, remove),
    Route("POST", f"{ONE}/items", Need.WRITING, add_item, NewItem),
    Route("POST", f"{ONE}/items/batch", Need.WRITING, change_items),
    Route("PATCH", f"{ONE}/items/{{item}}", Need.WRITING, change_item, ItemChange),
    Route("DELETE", f"{ONE}/items/{{item}}", Need.WRITING, remove_item),
]
