"""/device: where one lets a device in that asks to act in one's name, by the code that it shows."""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import Response

from llmos.hub.accounts import devices
from llmos.hub.api.asking import Ask
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import HubError
from llmos.web.forms import field, ticked
from llmos.web.rendering import go_to, page


def form(ask: Ask) -> Response:
    """The form, after signing in."""
    code = ask.query("user_code")[:20]
    if not ask.caller.session:
        return go_to(f"/login?next={quote(f'/device?user_code={quote(code)}', safe='')}")
    return page(ask, "device.html", user_code=code, decided=False, error=None)


def decide(ask: Ask) -> Response:
    """Let the device in, or not."""
    code = field(ask, "user_code")[:20]
    error: HubError | None = None
    try:
        with ask.hub.database.write() as connection:
            devices.decide(
                connection, ask.need_account(), ask.caller.name, code, ticked(ask, "allow")
            )
    except HubError as refused:
        error = refused
    status = 404 if error else 200
    return page(ask, "device.html", status, user_code=code, decided=not error, error=error)


ROUTES = [
    Route("GET", "/device", Need.PUBLIC, form, page=True),
    Route("POST", "/device", Need.SESSION, decide, page=True),
]
