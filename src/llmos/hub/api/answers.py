"""Answers on their way out: errors as clients read them, and headers that every answer has."""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from llmos.hub.errors import HubError

LONGEST_LINE = 500  # of X-Error-Message
_CONTROLS = {code: " " for code in (*range(32), 127)}
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # addresses of this hub can carry codes
    (b"cache-control", b"private, no-cache"),  # what one may see, another may not
)
_NO_FRAMES = (b"x-frame-options", b"DENY")


def error_response(error: HubError) -> Response:
    """The answer that tells an error, with the headers that huggingface_hub reads."""
    headers = {"X-Error-Message": header_text(error.message)} | error.headers
    if error.code:
        headers["X-Error-Code"] = error.code
    if error.status == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="hub"')
    body = orjson.dumps({"error": error.message, **error.extra})
    return Response(body, error.status, headers, "application/json")


def header_text(text: str) -> str:
    """A text as it may stand in a header: one line of ASCII (clients disagree about the rest; the
    body has it all), not too long."""
    return text[:LONGEST_LINE].translate(_CONTROLS).encode("ascii", "replace").decode()


async def send_answer(
    request: Request, response: Response, scope: Scope, receive: Receive, send: Send
) -> None:
    """Send `response` with the headers that every answer has; to HEAD without its body."""
    raw = response.raw_headers
    names = {name for name, _ in raw}
    raw.extend(pair for pair in _ALWAYS if pair[0] not in names)
    raw.append((b"x-request-id", request.state.id.encode()))
    if _NO_FRAMES[0] not in names and (response.media_type or "").startswith("text/html"):
        raw.append(_NO_FRAMES)
    if request.method == "HEAD" and not isinstance(response, FileResponse):
        await send({"type": "http.response.start", "status": response.status_code, "headers": raw})
        await send({"type": "http.response.body", "body": b""})
    else:
        await response(scope, receive, send)
