"""One's own account: profile, password, tokens, keys, organisations."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection, Row
from starlette.responses import Response

from llmos.hub.accounts import invitations, organisations, profiles, sessions
from llmos.hub.accounts.keys import add_key, key_challenge, keys_of, revoke_key
from llmos.hub.accounts.profiles import organisations_of
from llmos.hub.accounts.tokens import add_token, revoke_token, tokens_of
from llmos.hub.api.accounts import account_of, number
from llmos.hub.api.asking import Ask
from llmos.hub.api.authentication import session_code
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import bad_request
from llmos.web.forms import field
from llmos.web.i18n import names
from llmos.web.rendering import go_to, page, viewer_of

PROFILE = ("full_name", "country", "website", "about", "email")


def country_choices(ask: Ask) -> list[tuple[str, str]]:
    """All countries by name in the viewer's language, after none."""
    t = viewer_of(ask.hub, ask.request, ask.caller).t
    named = ((code, t.country_name(code)) for code in names()["countries"])
    return [("", "–"), *sorted(named, key=lambda pair: pair[1])]


def profile_values(ask: Ask) -> dict[str, Any]:
    """What the form of a profile sends, as `set_profile` takes it."""
    sent = ask.form()
    given: dict[str, Any] = {name: field(ask, name) for name in PROFILE if name in sent}
    if "languages" in sent:
        given["languages"] = field(ask, "languages").replace(",", " ").split()
    if "new_repositories" in sent:
        given["private_default"] = field(ask, "new_repositories") == "private"
    return given


def profile(ask: Ask) -> Response:
    """The form for one's profile, and for the password."""
    return page(
        ask, "profile.html", account=account_of(ask), countries=country_choices(ask), part="profile"
    )


def change_profile(ask: Ask) -> Response:
    """Change one's profile."""
    row = account_of(ask)
    with ask.hub.database.write() as connection:
        profiles.set_profile(connection, ask.caller.name, row, **profile_values(ask))
    return go_to("/settings", "saved")


def change_password(ask: Ask) -> Response:
    """Change the password; the other sessions end."""
    code = session_code(ask.hub, ask.request)
    old, new = field(ask, "old"), field(ask, "new")
    sessions.change_password(ask.hub, ask.need_account(), old, new, session=code)
    return go_to("/settings", "password")


def list_tokens(ask: Ask) -> Response:
    """One's tokens and the form for another."""
    return _tokens(ask)


def _tokens(ask: Ask, secret: str = "") -> Response:
    with ask.hub.database.read() as connection:
        rows = tokens_of(connection, ask.need_account())
    return page(ask, "tokens.html", tokens=rows, secret=secret, part="tokens")


def make_token(ask: Ask) -> Response:
    """Make a token and show it, this once."""
    row, days = account_of(ask), field(ask, "days")
    if days and not (days.isdecimal() and len(days) < 6):
        raise bad_request("days: write a whole number")
    with ask.hub.database.write() as connection:
        secret = add_token(
            connection,
            row.name,
            row,
            label=field(ask, "label"),
            scope=field(ask, "scope"),
            repos=field(ask, "repos").replace(",", " ").split(),
            days=int(days) if days else None,
        )
    return _tokens(ask, secret)


def withdraw_token(ask: Ask) -> Response:
    """Withdraw a token."""
    row = account_of(ask)
    with ask.hub.database.write() as connection:
        revoke_token(connection, row.name, row, number(ask, "token_id"))
    return go_to("/settings/tokens", "withdrawn")


def list_keys(ask: Ask) -> Response:
    """One's keys, and what has to be signed to add one."""
    row = account_of(ask)
    with ask.hub.database.read() as connection:
        rows = keys_of(connection, row.id)
    challenge = orjson.dumps(key_challenge(ask.hub, row, ask.base), option=orjson.OPT_INDENT_2)
    return page(ask, "keys.html", rows=rows, challenge=challenge.decode(), part="keys")


def new_key(ask: Ask) -> Response:
    """Add a key by the challenge that it signed."""
    row = account_of(ask)
    try:
        proof = orjson.loads(field(ask, "proof"))
    except orjson.JSONDecodeError:
        proof = None
    if not isinstance(proof, dict):
        raise bad_request("The proof must be the signed challenge, as JSON")
    add_key(ask.hub, row.name, row, proof, ask.base, label=field(ask, "label"))
    return go_to("/settings/keys", "saved")


def withdraw_key(ask: Ask) -> Response:
    """Revoke a key."""
    row = account_of(ask)
    with ask.hub.database.write() as connection:
        revoke_key(connection, row.name, row, ask.value("public_key"))
    return go_to("/settings/keys", "withdrawn")


def list_organisations(ask: Ask) -> Response:
    """One's organisations, with forms to make one and to accept an invitation."""
    with ask.hub.database.read() as connection:
        rows = _organisations(connection, ask.need_account())
    return page(ask, "organisations.html", rows=rows, part="organizations")


def _organisations(connection: Connection, account_id: int) -> list[Row[Any]]:
    return list(connection.execute(organisations_of(account_id)))


def make_organisation(ask: Ask) -> Response:
    """Make an organisation, of which the caller is the admin."""
    row, name = account_of(ask), field(ask, "name").strip()
    with ask.hub.database.write() as connection:
        organisations.make_organisation(connection, row, name, full_name=field(ask, "full_name"))
    return go_to(f"/organizations/{name}/settings", "saved")


def accept_invitation(ask: Ask) -> Response:
    """Use an invitation's code."""
    row = account_of(ask)
    with ask.hub.database.write() as connection:
        invitations.accept(connection, row, field(ask, "code").strip())
    return go_to("/settings/organizations", "joined")


ROUTES = [
    Route("GET", "/settings", Need.WRITING, profile, page=True),
    Route("POST", "/settings", Need.WRITING, change_profile, page=True),
    Route("POST", "/settings/password", Need.SESSION, change_password, page=True),
    Route("GET", "/settings/tokens", Need.WRITING, list_tokens, page=True),
    Route("POST", "/settings/tokens", Need.SESSION, make_token, page=True),
    Route("POST", "/settings/tokens/{token_id}/withdraw", Need.WRITING, withdraw_token, page=True),
    Route("GET", "/settings/keys", Need.WRITING, list_keys, page=True),
    Route("POST", "/settings/keys", Need.WRITING, new_key, page=True),
    Route("POST", "/settings/keys/{public_key}/withdraw", Need.WRITING, withdraw_key, page=True),
    Route("GET", "/settings/organizations", Need.WRITING, list_organisations, page=True),
    Route("POST", "/settings/organizations", Need.WRITING, make_organisation, page=True),
    Route("POST", "/settings/organizations/accept", Need.WRITING, accept_invitation, page=True),
]
