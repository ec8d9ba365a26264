"""Repositories listed: filtered, sorted, page by page.

A page begins after the last repository of the one before (its sort value and id), so that page one
of 100,000 repositories costs what page one of 100 does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, select, tuple_

from llmos.hub.accounts.rights import Caller, account_row, visible
from llmos.hub.database.tables import repo_tags, repos
from llmos.hub.errors import bad_request

SORTS = {
    "lastModified": repos.c.updated_at,
    "createdAt": repos.c.created_at,
    "downloads": repos.c.downloads,
    "likes": repos.c.likes,
    "trendingScore": repos.c.trending,
}
RARE = 2000  # repositories with a tag, up to which they are fetched and sorted
MOST_FILTERS = 20
BOUND = re.compile(r"(min|max):(\d{1,15}(?:\.\d{1,6})?)([kmbt]?)", re.IGNORECASE)
SIZES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a listing is asked for. `words` must all be in the name; `tags` (lower case) must all be
    there; `least` and `most` are parameters of a model; `owner_id` is one account's."""

    kind: str
    author: str | None = None
    words: Sequence[str] = ()
    tags: Sequence[str] = ()
    gated: bool | None = None
    least: int | None = None
    most: int | None = None
    sharing: str = ""
    sort: str = "lastModified"
    ascending: bool = False
    kinds: Sequence[str] = ()  # more than one kind: instead of `kind`


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last repository of a page: its sort value and id."""

    value: int
    id: int

    def __str__(self) -> str:
        return f"{self.value}.{self.id}"


def read_cursor(text: str | None) -> Cursor | None:
    """The cursor of a Link header. Raises `HubError` 400 for one that was never there."""
    if not text:
        return None
    found = re.fullmatch(r"(\d{1,18})\.(\d{1,18})", text, re.ASCII)
    if found is None:
        raise bad_request("cursor: take it from the Link header of the page before")
    return Cursor(int(found[1]), int(found[2]))


def read_range(text: str) -> tuple[int | None, int | None]:
    """The least and most parameters of "min:6B,max:128B". Raises `HubError` 400."""
    bounds: dict[str, int] = {}
    for part in text.split(","):
        found = BOUND.fullmatch(part.strip())
        if found is None:
            raise bad_request(f"num_parameters={text[:60]}: write for example min:6B,max:128B")
        number = min(round(float(found[2]) * SIZES[found[3].lower()]), 1 << 62)
        bounds[found[1].lower()] = number
    return bounds.get("min"), bounds.get("max")


def page(
    connection: Connection, caller: Caller, wanted: Wanted, limit: int, after: Cursor | None = None
) -> tuple[list[int], Cursor | None]:
    """Ids of at most `limit` repositories that the caller may see, in order, and the cursor for
    the next page (None: this is the last). Raises `HubError` 400 for an unknown sort."""
    column = SORTS.get(wanted.sort)
    if column is None:
        raise bad_request(f"sort={wanted.sort[:40]}: choose one of {', '.join(SORTS)}")
    conditions = _conditions(connection, caller, wanted)
    if conditions is None:
        return [], None
    here = tuple_(column, repos.c.id)
    if after is not None:
        there = tuple_(after.value, after.id)
        conditions.append(here > there if wanted.ascending else here < there)
    columns = (column, repos.c.id)
    order = columns if wanted.ascending else (column.desc(), repos.c.id.desc())
    rows = connection.execute(
        select(repos.c.id, column).where(*conditions).order_by(*order).limit(limit + 1)
    ).all()
    more = Cursor(rows[limit - 1][1], rows[limit - 1][0]) if len(rows) > limit > 0 else None
    return [row[0] for row in rows[:limit]], more


def count(connection: Connection, caller: Caller, wanted: Wanted) -> int:
    """How many there are of those that the caller may see."""
    conditions = _conditions(connection, caller, wanted)
    if conditions is None:
        return 0
    return connection.execute(
        select(func.count()).select_from(repos).where(*conditions)
    ).scalar_one()


def rows_of(connection: Connection, ids: Sequence[int], columns: Sequence[Any]) -> list[Row[Any]]:
    """Those columns of these repositories, in the order of `ids`; what is gone is left out."""
    found: dict[int, Row[Any]] = {}
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        rows = connection.execute(select(repos.c.id, *columns).where(repos.c.id.in_(some)))
        found |= {row.id: row for row in rows}
    return [found[one] for one in ids if one in found]


def _conditions(
    connection: Connection, caller: Caller, wanted: Wanted
) -> list[ColumnElement[bool]] | None:
    """The WHERE of a listing; None when nothing can be found."""
    conditions: list[ColumnElement[bool]] = [visible(caller, repos)]
    if wanted.kinds:
        conditions.append(repos.c.kind.in_(wanted.kinds))
    else:
        conditions.append(repos.c.kind == wanted.kind)
    if wanted.author is not None:
        owner = account_row(connection, wanted.author)
        if owner is None:
            return None
        conditions.append(repos.c.owner_id == owner.id)
    if len(wanted.words) + len(wanted.tags) > MOST_FILTERS:
        raise bad_request(f"more than {MOST_FILTERS} words and filters at once")
    if wanted.gated is False:
        conditions.append(repos.c.gated.is_(None))
    narrow = _narrow(connection, wanted)
    return None if narrow is None else conditions + narrow


def _narrow(connection: Connection, wanted: Wanted) -> list[ColumnElement[bool]] | None:
    """Conditions that may leave few; None when they leave none. What at most `RARE` repositories
    have is fetched first, and those few are sorted; for what is common the sorted listing is gone
    through."""
    conditions: list[ColumnElement[bool]] = []
    few: set[int] | None = None
    for ids, condition in _selective(wanted):
        found: set[int] = set(connection.scalars(ids.limit(RARE + 1)))
        if len(found) > RARE:
            conditions.append(condition)
        else:
            few = found if few is None else few & found
    if few is not None:
        conditions.append(repos.c.id.in_(sorted(few)))
    return conditions if few is None or few else None


def _selective(
    wanted: Wanted,
) -> Iterator[tuple[Select[Any], ColumnElement[bool]]]:
    """Conditions for which there is an index, each with the query of all ids that it leaves."""
    kinds = repos.c.kind.in_(wanted.kinds or [wanted.kind])
    if wanted.words:
        names = and_(
            *(repos.c.name_key.contains(word.lower(), autoescape=True) for word in wanted.words)
        )
        yield select(repos.c.id).where(kinds, names), names
    for tag in wanted.tags:
        same = repo_tags.c.tag == tag
        there = select(repo_tags.c.tag).where(same, repo_tags.c.repo_id == repos.c.id)
        yield select(repo_tags.c.repo_id).where(same), there.exists()
    if wanted.gated:
        yield (
            select(repos.c.id).where(kinds, repos.c.gated.is_not(None)),
            repos.c.gated.is_not(None),
        )
    if wanted.least is not None or wanted.most is not None:
        most = (1 << 62) if wanted.most is None else wanted.most
        sized = repos.c.parameters.between(wanted.least or 0, most)
        yield select(repos.c.id).where(kinds, sized), sized
