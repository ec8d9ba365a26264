"""Collections as pages show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from llmos.hub.accounts.rights import Caller
from llmos.hub.database.tables import accounts
from llmos.hub.together import collections
from llmos.hub.together.collection_items import items_of, readable
from llmos.web import listing
from llmos.web.rendering import repo_path

PAPERS = "https://arxiv.org/abs/"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a collection. `place`: among all in it, from 0, those unseen counted too;
    `card`: of a repository, what a list shows of it."""

    item_id: str
    kind: str
    name: str
    address: str
    note: str
    place: int
    card: Any = None


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection with those of its entries that the caller may see."""

    slug: str
    owner: str
    title: str
    description: str
    private: bool
    updated_at: int
    entries: list[Entry]

    @property
    def address(self) -> str:
        """Of its page."""
        return f"/collections/{self.slug}"


def shown(
    connection: Connection, caller: Caller, rows: Sequence[Row[Any]], *, cards: bool = False
) -> list[Collection]:
    """Rows of `collections` with their owners, as pages show them; `cards` for those in full."""
    items = items_of(connection, [row.id for row in rows])
    found = readable(connection, caller, [item for some in items.values() for item in some])
    runs = [repo for repo in found.values() if repo is not None and repo.kind == "run"]
    run_cards = {}
    if cards and runs:
        run_cards = {one.full_name: one for one in listing.run_items(connection, runs)}

    def entry(place: int, item: Row[Any], repo: Row[Any] | None) -> Entry:
        about = (item.item_id, item.kind)
        rest = (item.note or "", place)
        if repo is not None:
            card: Any = None
            if cards:
                card = run_cards[repo.full_name] if repo.kind == "run" else listing.item_of(repo)
            path = repo_path(repo.kind, repo.full_name)
            return Entry(*about, repo.full_name, path, *rest, card)
        if item.kind == "paper":
            return Entry(*about, f"arXiv:{item.target}", PAPERS + item.target, *rest)
        inner = collections.find_collection(connection, caller, item.target)
        return Entry(*about, inner.title, f"/collections/{collections.slug_of(inner)}", *rest)

    return [
        Collection(
            collections.slug_of(row),
            row.owner,
            row.title,
            row.description,
            row.private,
            row.updated_at,
            [
                entry(place, item, found[item.id])
                for place, item in enumerate(items[row.id])
                if item.id in found
            ],
        )
        for row in rows
    ]


def holding(
    connection: Connection, caller: Caller, repo: Row[Any], most: int
) -> list[tuple[str, str, str]]:
    """Address, title and owner of collections with a repository in them, the one changed last
    first."""
    item = (repo.kind, repo.full_name)
    rows = collections.list_collections(connection, caller, items=[item], limit=most)
    return [(f"/collections/{collections.slug_of(row)}", row.title, row.owner) for row in rows]


def owners_for(connection: Connection, caller: Caller, *roles: str) -> list[str]:
    """One's own name and those of the organisations in which one has one of these roles."""
    ids = [org for org, role in caller.roles.items() if role in roles]
    named = select(accounts.c.name).where(accounts.c.id.in_(ids)).order_by(accounts.c.name_key)
    return [caller.name, *connection.scalars(named)]


def changeable(connection: Connection, caller: Caller) -> list[tuple[str, str]]:
    """The caller's own collections and those of organisations that they keep: slug and title."""
    owners = owners_for(connection, caller, "maintainer", "admin")
    rows = collections.list_collections(
        connection, caller, owners=owners, limit=collections.MOST_OF_AN_ACCOUNT
    )
    return [(collections.slug_of(row), f"{row.owner} / {row.title}") for row in rows]
