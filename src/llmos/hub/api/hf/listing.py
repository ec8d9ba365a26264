"""GET /api/{kind}: repositories, filtered and sorted, page by page."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from llmos.hub.api.asking import Ask, answer
from llmos.hub.api.hf.describing import columns_for, describe
from llmos.hub.api.hf.queries import listed_fields, page_limit, wanted_from
from llmos.hub.api.routing import Need, Route
from llmos.hub.repos.information import trees_of
from llmos.hub.repos.listing import SORTS, Cursor, page, read_cursor, rows_of

PAGE_BYTES = 8 << 20  # a page ends early when cards or lists of files fill it
BATCH = 50


def list_repos(ask: Ask) -> Response:
    """A page of the repositories that the caller may see; Link leads to the next."""
    wanted = wanted_from(ask)
    fields, named = listed_fields(ask)
    limit, after = page_limit(ask), read_cursor(ask.query("cursor"))
    if wanted is None:
        return answer([])
    sorted_by = SORTS.get(wanted.sort)
    with ask.hub.database.read() as connection:
        ids, more = page(connection, ask.caller, wanted, limit, after)
        found: list[Any] = []
        size, last = 0, None
        for start in range(0, len(ids), BATCH):
            rows = rows_of(connection, ids[start : start + BATCH], columns_for(fields))
            roots = trees_of(connection, rows) if "siblings" in fields else {}
            for row in rows:
                told = describe(
                    connection, ask.caller, row, fields, root=roots.get(row.id), named=named
                )
                encoded = orjson.dumps(told)
                found.append(orjson.Fragment(encoded))
                size += len(encoded)
                last = (
                    Cursor(getattr(row, sorted_by.name), row.id) if sorted_by is not None else None
                )
                if size > PAGE_BYTES:
                    break
            if size > PAGE_BYTES:
                break
    if last is not None and len(found) < len(ids):
        more = last
    return answer(found, headers=ask.next_link(cursor=more) if more else None)


ROUTES = [Route("GET", "/api/{kind}", Need.PUBLIC, list_repos)]
