"""/api/hub: signing up, in and out; one's own profile, password, tokens and keys."""

from __future__ import annotations

from typing import Any, cast

from pydantic import BaseModel
from sqlalchemy import Row, select
from starlette.responses import Response

from llmos.hub.accounts import joining, profiles, sessions, standing
from llmos.hub.accounts.keys import add_key, key_challenge, keys_of, revoke_key
from llmos.hub.accounts.passwords import matches
from llmos.hub.accounts.tokens import add_token, revoke_token, tokens_of
from llmos.hub.api import account_forms as forms
from llmos.hub.api.asking import Ask, answer, iso
from llmos.hub.api.authentication import clear_session, end_session, session_code, set_session
from llmos.hub.api.limits import address_of
from llmos.hub.api.routing import Need, Route
from llmos.hub.database.tables import accounts
from llmos.hub.errors import HubError, forbidden
from llmos.hub.runs.agreeing import agreements_of


def when(at: int | None) -> str | None:
    """A time, or nothing."""
    return None if at is None else iso(at)


def plain(row: Any) -> dict[str, Any]:
    """A row's columns by name."""
    return {str(name): value for name, value in row._mapping.items()}


def said(what: type[BaseModel] = forms.Done, **values: Any) -> Response:
    """An answer of the type `what`."""
    return answer(what(**values).model_dump())


def sign_up(ask: Ask) -> Response:
    """Make an account and sign in."""
    data = cast(forms.Signup, ask.data)
    address = address_of(ask.request)
    return _begun(ask, joining.sign_up(ask.hub, **data.model_dump(), address=address))


def sign_in(ask: Ask) -> Response:
    """Sign in with name and password; the session comes as a cookie."""
    data = cast(forms.Login, ask.data)
    made = sessions.sign_in(ask.hub, data.name, data.password, address_of(ask.request))
    return _begun(ask, made)


def _begun(ask: Ask, made: sessions.Session) -> Response:
    at = iso(made.expires_at)
    response = said(forms.SessionShown, name=made.name, csrf=made.csrf, expires_at=at)
    set_session(ask.hub, ask.request, response, made)
    return response


def sign_out(ask: Ask) -> Response:
    """End this session."""
    return end_session(ask.hub, ask.request, said())


def account_of(ask: Ask) -> Row[Any]:
    """The caller's row of `accounts`."""
    with ask.hub.database.read() as connection:
        mine = select(accounts).where(accounts.c.id == ask.need_account())
        return connection.execute(mine).one()


def show_myself(ask: Ask) -> Response:
    """Who is asking: name, scope of the token, CSRF token of the session."""
    row, caller = account_of(ask), ask.caller
    csrf = caller.csrf if caller.session else None
    given = {"name": row.name, "email": row.email, "admin": caller.admin, "scope": caller.scope}
    return said(forms.Myself, **given, private_default=row.private_default, csrf=csrf)


def change_profile(ask: Ask) -> Response:
    """Change one's own profile."""
    with ask.hub.database.write() as connection:
        change = cast(forms.ProfileChange, ask.data).model_dump(exclude_none=True)
        profiles.set_profile(connection, ask.caller.name, account_of(ask), **change)
    return said()


def change_password(ask: Ask) -> Response:
    """Change the password; the other sessions end, tokens stay."""
    data = cast(forms.PasswordChange, ask.data)
    code = session_code(ask.hub, ask.request)
    sessions.change_password(ask.hub, ask.need_account(), data.old, data.new, session=code)
    return said()


def end_sessions(ask: Ask) -> Response:
    """End all sessions, this one too."""
    with ask.hub.database.write() as connection:
        sessions.end_sessions(connection, ask.need_account())
    return said()


def delete_myself(ask: Ask) -> Response:
    """Delete one's own account, which owns no repositories. The name stays taken."""
    row = account_of(ask)
    ask.hub.limits.logins_to.check(row.name_key, "wrong passwords")
    if not matches(row.password, cast(forms.Farewell, ask.data).password):
        raise forbidden("The password is wrong")
    with ask.hub.database.write() as connection:
        standing.delete_user(connection, row.name, row)
    response = said()
    clear_session(ask.hub, ask.request, response)
    return response


def list_tokens(ask: Ask) -> Response:
    """One's tokens, without their secrets."""
    with ask.hub.database.read() as connection:
        rows = tokens_of(connection, ask.need_account())
    times = ("created_at", "expires_at", "used_at")
    return answer(
        [{**plain(row), **{one: when(row._mapping[one]) for one in times}} for row in rows]
    )


def make_token(ask: Ask) -> Response:
    """Make a token; its secret is shown this once."""
    data = cast(forms.NewToken, ask.data)
    with ask.hub.database.write() as connection:
        row = account_of(ask)
        secret = add_token(connection, row.name, row, **data.model_dump())
    return said(forms.TokenMade, token=secret)


def withdraw_token(ask: Ask) -> Response:
    """Withdraw a token: it opens nothing from now on."""
    with ask.hub.database.write() as connection:
        revoke_token(connection, ask.caller.name, account_of(ask), number(ask, "token_id"))
    return said()


def number(ask: Ask, name: str) -> int:
    """A number in the path. Raises `HubError` 404 for anything else."""
    text = ask.value(name)
    if not (text.isascii() and text.isdecimal() and len(text) < 18):
        raise HubError(404, "There is nothing of that number")
    return int(text)


def challenge(ask: Ask) -> Response:
    """What to sign to add a key: with llmos.provenance.signing, as kind `hub_key`."""
    return challenged(ask, account_of(ask))


def challenged(ask: Ask, account: Row[Any]) -> Response:
    """What to sign to add a key to this account."""
    return said(forms.Challenge, **key_challenge(ask.hub, account, ask.base))


def new_key(ask: Ask) -> Response:
    """Add a public key that one holds; revoke another at once, if told so."""
    return key_added(ask, account_of(ask))


def key_added(ask: Ask, account: Row[Any]) -> Response:
    """The key that the caller has proved to hold, added to this account."""
    data = cast(forms.NewKey, ask.data)
    public = add_key(
        ask.hub,
        ask.caller.name,
        account,
        data.proof,
        ask.base,
        label=data.label,
        instead_of=data.instead_of,
    )
    return said(forms.KeyAdded, public_key=public)


def list_keys(ask: Ask) -> Response:
    """One's keys, the revoked ones too."""
    with ask.hub.database.read() as connection:
        rows = keys_of(connection, ask.need_account())
    return answer([key_shown(row) for row in rows])


def key_shown(row: Row[Any]) -> dict[str, Any]:
    """A key as `forms.KeyShown`."""
    times = {"created_at": when(row.created_at), "revoked_at": when(row.revoked_at)}
    return {"public_key": row.public_key, "label": row.label, **times}


def withdraw_key(ask: Ask) -> Response:
    """Revoke a key: from now on it signs nothing; it stays listed."""
    with ask.hub.database.write() as connection:
        revoke_key(connection, ask.caller.name, account_of(ask), ask.value("public_key"))
    return said()


def list_agreements(ask: Ask) -> Response:
    """Runs that await or have one's agreement, or that of an organisation one may sign for."""
    with ask.hub.database.read() as connection:
        return answer([plain(row) for row in agreements_of(connection, ask.caller)])


def documented(
    method: str, path: str, needs: str, function: Any, takes: Any = None, gives: Any = forms.Done
) -> Route:
    """A route below /api/hub that stands in openapi.json."""
    template = f"/api/hub/{path}"
    return Route(method, template, needs, function, takes=takes, documented=True, gives=gives)


ROUTES = [
    documented("POST", "signup", Need.PUBLIC, sign_up, forms.Signup, forms.SessionShown),
    documented("POST", "login", Need.PUBLIC, sign_in, forms.Login, forms.SessionShown),
    documented("POST", "logout", Need.SESSION, sign_out),
    documented("GET", "me", Need.SIGNED_IN, show_myself, None, forms.Myself),
    documented("PATCH", "me", Need.WRITING, change_profile, forms.ProfileChange),
    documented("DELETE", "me", Need.SESSION, delete_myself, forms.Farewell),
    documented("POST", "me/password", Need.SESSION, change_password, forms.PasswordChange),
    documented("DELETE", "me/sessions", Need.WRITING, end_sessions),
    documented("GET", "me/tokens", Need.WRITING, list_tokens, None, list[forms.TokenShown]),
    documented("POST", "me/tokens", Need.SESSION, make_token, forms.NewToken, forms.TokenMade),
    documented("DELETE", "me/tokens/{token_id}", Need.WRITING, withdraw_token),
    documented("GET", "me/keys", Need.SIGNED_IN, list_keys, None, list[forms.KeyShown]),
    documented("POST", "me/keys/challenge", Need.WRITING, challenge, None, forms.Challenge),
    documented("POST", "me/keys", Need.WRITING, new_key, forms.NewKey, forms.KeyAdded),
    documented("DELETE", "me/keys/{public_key}", Need.WRITING, withdraw_key),
    documented(
        "GET", "me/agreements", Need.SIGNED_IN, list_agreements, None, list[forms.AgreementShown]
    ),
]
