"""The page that tells an error."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from llmos.hub.accounts.rights import NOBODY
from llmos.hub.api.authentication import caller_of
from llmos.hub.errors import HubError
from llmos.hub.hub import Hub
from llmos.web.rendering import raw_path, render, viewer_of


def error_page(hub: Hub, request: Request, error: HubError) -> Response:
    """An error of a page, with what can be done about it; the headers are those of the API."""
    try:
        caller = caller_of(hub, request)
    except HubError:  # a wrong token, or a database that does not answer
        caller = NOBODY
    key = f"error.{error.status}"
    viewer = viewer_of(hub, request, caller)
    response = render(
        viewer,
        "error.html",
        error.status,
        error=error,
        heading=viewer.t.known(key, viewer.t("error.other", status=error.status)),
        advice=viewer.t.known(f"{key}.advice"),
        back=_inside(request),
    )
    if error.code:
        response.headers["X-Error-Code"] = error.code
    for name, value in error.headers.items():
        response.headers.setdefault(name, value)
    return response


def _inside(request: Request) -> str:
    """Where to come back to after signing in."""
    if request.method != "GET":
        return "/"
    query = request.url.query
    return raw_path(request) + (f"?{query}" if query else "")
