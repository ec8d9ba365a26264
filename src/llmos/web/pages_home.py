"""The first page, and the files that pages are made of."""

from __future__ import annotations

import mimetypes
from typing import Any

from starlette.responses import Response

from llmos.hub.api.asking import Ask
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import HubError
from llmos.web import listing
from llmos.web.rendering import page, static_files


def home(ask: Ask) -> Response:
    """What the place is for, what is there, how to begin."""
    return page(ask, "home.html", **_shown(ask))


def _shown(ask: Ask) -> dict[str, Any]:
    caller = ask.caller
    with ask.hub.database.read() as connection:
        places = listing.countries(connection)
        return {
            "totals": listing.totals(connection, caller),
            "countries": places[:10],
            "country_count": len(places),
            "runs": listing.running(connection, caller, 4),
            "most_used": listing.items(
                connection, caller, listing.Filters("model", sort="downloads"), 5
            ),
            "newest": listing.items(
                connection, caller, listing.Filters("model", sort="created"), 5
            ),
            "datasets": listing.items(
                connection, caller, listing.Filters("dataset", sort="created"), 5
            ),
        }


def static_file(ask: Ask) -> Response:
    """A style sheet or picture of the pages. Its address holds its hash, so it is kept for ever."""
    found = static_files().get(ask.value("name"))
    if found is None:
        raise HubError(404, "There is no such file")
    kind = mimetypes.guess_type(ask.value("name"))[0] or "application/octet-stream"
    current = found[1] == ask.value("hash")
    kept = "public, max-age=31536000, immutable" if current else "no-cache"
    return Response(found[0], headers={"Cache-Control": kept}, media_type=kind)


ROUTES = [
    Route("GET", "/", Need.PUBLIC, home, page=True),
    Route("GET", "/static/{hash}/{name}", Need.PUBLIC, static_file),
]
