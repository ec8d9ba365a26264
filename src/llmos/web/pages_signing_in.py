"""Signing in, out and up."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.responses import Response

from llmos.hub.accounts import joining, sessions
from llmos.hub.api.asking import Ask
from llmos.hub.api.authentication import end_session, set_session
from llmos.hub.api.limits import address_of
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import HubError
from llmos.web.forms import field
from llmos.web.rendering import go_to, page


def inside(address: str) -> str:
    """`address` if it is a page of this hub, else the first page: nobody is led elsewhere."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/"
    plain = address.startswith("/") and not address.startswith(("//", "/\\"))
    odd = any(ord(letter) < 33 or letter == "\\" for letter in address)
    return address if plain and not odd and not parts.netloc and not parts.scheme else "/"


def sign_in_form(ask: Ask) -> Response:
    """The form to sign in with."""
    after = inside(ask.query("next", "/"))
    if ask.caller.session:
        return go_to(after)
    return page(ask, "login.html", after=after, error=None, name="")


def sign_in(ask: Ask) -> Response:
    """Begin a session; a wrong name or password shows the form again."""
    name, after = field(ask, "name").strip(), inside(field(ask, "next"))
    try:
        made = sessions.sign_in(ask.hub, name, field(ask, "password"), address_of(ask.request))
    except HubError as error:
        answer = page(ask, "login.html", error.status, after=after, error=error, name=name[:96])
        answer.headers.update(error.headers)
        return answer
    response = go_to(after)
    set_session(ask.hub, ask.request, response, made)
    return response


def sign_out(ask: Ask) -> Response:
    """End this session."""
    return end_session(ask.hub, ask.request, go_to("/", "signed_out"))


def sign_up_form(ask: Ask) -> Response:
    """The form for a new account."""
    return _sign_up_form(ask)


def _sign_up_form(ask: Ask, status: int = 200, error: HubError | None = None) -> Response:
    given = {name: field(ask, name)[:300] for name in ("name", "full_name", "email", "code")}
    return page(
        ask,
        "signup.html",
        status,
        error=error,
        given=given,
        by_invitation=ask.hub.settings.signup != "open",
    )


def sign_up(ask: Ask) -> Response:
    """Make an account and begin its first session; what is wrong shows the form again."""
    try:
        made = joining.sign_up(
            ask.hub,
            field(ask, "name").strip(),
            field(ask, "password"),
            email=field(ask, "email"),
            full_name=field(ask, "full_name"),
            code=field(ask, "code").strip(),
            address=address_of(ask.request),
        )
    except HubError as error:
        answer = _sign_up_form(ask, error.status, error)
        answer.headers.update(error.headers)
        return answer
    response = go_to("/settings", "welcome")
    set_session(ask.hub, ask.request, response, made)
    return response


ROUTES = [
    Route("GET", "/login", Need.PUBLIC, sign_in_form, page=True),
    Route("POST", "/login", Need.PUBLIC, sign_in, page=True),
    Route("POST", "/logout", Need.SESSION, sign_out, page=True),
    Route("GET", "/signup", Need.PUBLIC, sign_up_form, page=True),
    Route("POST", "/signup", Need.PUBLIC, sign_up, page=True),
]
