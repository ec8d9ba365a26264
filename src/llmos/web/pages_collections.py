"""Collections: lists of repositories, papers and other collections under a title.

Public ones are for everybody. Whether the caller may change one is checked by the functions of
together/: its owner may, and the maintainers and admins of an organisation.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from llmos.hub.api.asking import Ask
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import HubError, bad_request
from llmos.hub.together import collection_items, collections
from llmos.web import collecting
from llmos.web.forms import field, ticked
from llmos.web.rendering import go_to, page, viewer_of

PAGE = 24


def listed(ask: Ask) -> Response:
    """All collections, or those of an owner, or with a word in their title."""
    owner, words = ask.query("owner")[:96], ask.query("q")[:200]
    start = ask.query_number("start", 0, 1_000_000)
    with ask.hub.database.read() as connection:
        rows = collections.list_collections(
            connection,
            ask.caller,
            owners=[owner] if owner else (),
            search=words,
            start=start,
            limit=PAGE + 1,
        )
        found = collecting.shown(connection, ask.caller, rows[:PAGE])
    viewer = viewer_of(ask.hub, ask.request, ask.caller)
    return page(
        ask,
        "collections.html",
        found=found,
        owner=owner,
        words=words,
        forward=viewer.address(start=start + PAGE) if len(rows) > PAGE else "",
        back=viewer.address(start=max(0, start - PAGE) or None) if start else "",
    )


def _slug(ask: Ask) -> str:
    return f"{ask.value('namespace')}/{ask.value('slug')}"


def one(ask: Ask) -> Response:
    """One collection with all in it that the caller may see."""
    with ask.hub.database.read() as connection:
        row = collections.find_collection(connection, ask.caller, _slug(ask))
        [found] = collecting.shown(connection, ask.caller, [row], cards=True)
    may_change = collections.may_change(ask.caller, row.account_id)
    return page(ask, "collection.html", collection=found, may_change=may_change)


def edit(ask: Ask) -> Response:
    """The forms to change a collection."""
    with ask.hub.database.read() as connection:
        row = collections.to_change(connection, ask.caller, _slug(ask))
        [found] = collecting.shown(connection, ask.caller, [row])
    t = viewer_of(ask.hub, ask.request, ask.caller).t
    return page(
        ask,
        "collection_edit.html",
        collection=found,
        kind_pairs=[(kind, t(f"kind.{kind}.one")) for kind in collection_items.KINDS],
    )


def new(ask: Ask) -> Response:
    """The form for a new collection, perhaps with a first item (kind and name of the address)."""
    given = {name: ask.query(name)[:200] for name in ("owner", "kind", "name")}
    return _new(ask, {"title": "", "description": "", "private": "", **given})


def _new(
    ask: Ask, given: dict[str, str], status: int = 200, error: HubError | None = None
) -> Response:
    with ask.hub.database.read() as connection:
        owners = collecting.owners_for(connection, ask.caller, "maintainer", "admin")
    return page(
        ask,
        "collection_new.html",
        status,
        owner_pairs=[(name, name) for name in owners],
        given=given,
        error=error,
    )


def create(ask: Ask) -> Response:
    """Make a collection, with its first item if the form names one. What is wrong shows the form
    again."""
    names = ("owner", "title", "description", "private", "kind", "name")
    given = {name: field(ask, name) for name in names}
    try:
        with ask.hub.database.write() as connection:
            row = collections.make_collection(
                connection,
                ask.caller,
                given["owner"],
                given["title"],
                description=given["description"],
                private=ticked(ask, "private"),
            )
            slug = collections.slug_of(row)
            if given["name"]:
                collection_items.add_item(
                    connection, ask.caller, slug, given["kind"], given["name"]
                )
    except HubError as error:
        if error.status >= 500:
            raise
        return _new(ask, given, error.status, error)
    return go_to(f"/collections/{slug}", "made")


def change(ask: Ask) -> Response:
    """Change title, description, and who sees it."""
    changes: dict[str, Any] = {
        "title": field(ask, "title"),
        "description": field(ask, "description"),
        "private": ticked(ask, "private"),
    }
    with ask.hub.database.write() as connection:
        row = collections.change_collection(connection, ask.caller, _slug(ask), changes)
    return go_to(f"/collections/{collections.slug_of(row)}", "saved")


def delete(ask: Ask) -> Response:
    """Delete a collection; what is in it stays where it is."""
    if not ticked(ask, "sure"):
        raise bad_request("Tick the box to delete the collection: nothing was deleted")
    with ask.hub.database.write() as connection:
        collections.delete_collection(connection, ask.caller, _slug(ask))
    return go_to("/collections", "deleted")


def add_form(ask: Ask) -> Response:
    """The form that puts a repository (kind and name of the address) into one of one's own
    collections."""
    with ask.hub.database.read() as connection:
        mine = collecting.changeable(connection, ask.caller)
    kind, name = ask.query("kind", "model")[:20], ask.query("name")[:200]
    if kind not in collection_items.KINDS:
        raise bad_request(f"kind {kind}: choose one of {', '.join(collection_items.KINDS)}")
    return page(ask, "collection_add.html", kind=kind, name=name, mine=mine)


def add(ask: Ask) -> Response:
    """Put something into the collection that the form names."""
    return _add(ask, field(ask, "collection"))


def add_here(ask: Ask) -> Response:
    """Put something into this collection."""
    return _add(ask, _slug(ask), "/edit")


def _add(ask: Ask, slug: str, below: str = "") -> Response:
    kind, name, note = (field(ask, one).strip() for one in ("kind", "name", "note"))
    with ask.hub.database.write() as connection:
        row = collection_items.add_item(connection, ask.caller, slug, kind, name, note)
    return go_to(f"/collections/{collections.slug_of(row)}{below}", "added")


def change_item(ask: Ask) -> Response:
    """Another note for an item, or another place."""
    note = field(ask, "note") if "note" in ask.form() else None
    place = field(ask, "place")
    if place and not (place.isdecimal() and len(place) < 6):
        raise bad_request(f"place {place[:20]}: write a whole number")
    position = int(place) if place else None
    with ask.hub.database.write() as connection:
        collection_items.change_item(
            connection, ask.caller, _slug(ask), ask.value("item"), note=note, position=position
        )
    return go_to(f"/collections/{_slug(ask)}/edit", "saved")


def remove_item(ask: Ask) -> Response:
    """Take an item out."""
    with ask.hub.database.write() as connection:
        collection_items.remove_item(connection, ask.caller, _slug(ask), ask.value("item"))
    return go_to(f"/collections/{_slug(ask)}/edit", "removed")


ALL = "/collections"
ONE = f"{ALL}/{{namespace}}/{{slug}}"
ITEM = f"{ONE}/items/{{item}}"
ROUTES = [
    Route("GET", ALL, Need.PUBLIC, listed, page=True),
    Route("POST", ALL, Need.WRITING, create, page=True),
    Route("GET", f"{ALL}/new", Need.WRITING, new, page=True),
    Route("GET", f"{ALL}/add", Need.WRITING, add_form, page=True),
    Route("POST", f"{ALL}/add", Need.WRITING, add, page=True),
    Route("GET", ONE, Need.PUBLIC, one, page=True),
    Route("POST", ONE, Need.WRITING, change, page=True),
    Route("GET", f"{ONE}/edit", Need.WRITING, edit, page=True),
    Route("POST", f"{ONE}/delete", Need.WRITING, delete, page=True),
    Route("POST", f"{ONE}/items", Need.WRITING, add_here, page=True),
    Route("POST", ITEM, Need.WRITING, change_item, page=True),
    Route("POST", f"{ITEM}/remove", Need.WRITING, remove_item, page=True),
]
