"""Who is asking: a token in the Authorization header, or a browser's session cookie.

A token that is withdrawn, by whatever process, opens nothing from the next request on: what is
remembered of it is forgotten with any change of the database. One statement finds the account and
its roles.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update
from starlette.requests import Request
from starlette.responses import Response

from llmos.hub.accounts.rights import NOBODY, Caller
from llmos.hub.accounts.secrets import fingerprint
from llmos.hub.accounts.sessions import Session, sign_out
from llmos.hub.database.connection import now
from llmos.hub.database.prepared import Prepared
from llmos.hub.database.tables import accounts, memberships, sessions, tokens
from llmos.hub.errors import HubError
from llmos.hub.hub import Hub

log = logging.getLogger("llmos.hub")
COOKIE = "llmos_session"
SAFE_COOKIE = "__Host-llmos_session"  # over https: no other host, no plain address may set it
NOTE_USE_EVERY = 3600 * 1000  # milliseconds between two notes of when a token was last used

_ACCOUNT = (
    *(accounts.c[name] for name in ("id", "name", "admin", "disabled_at")),
    memberships.c.org_id,
    memberships.c.role,
)
_ROLES = memberships.c.user_id == accounts.c.id
_BY_TOKEN = Prepared(
    select(
        tokens.c.id.label("token_id"),
        *(tokens.c[name] for name in ("label", "scope", "repos", "expires_at", "used_at")),
        *_ACCOUNT,
    )
    .join(accounts, accounts.c.id == tokens.c.account_id)
    .outerjoin(memberships, _ROLES)
    .where(tokens.c.sha256 == bindparam("secret"))
)
_BY_SESSION = Prepared(
    select(sessions.c.csrf, sessions.c.expires_at, *_ACCOUNT)
    .join(accounts, accounts.c.id == sessions.c.account_id)
    .outerjoin(memberships, _ROLES)
    .where(sessions.c.sha256 == bindparam("secret"))
)


def caller_of(hub: Hub, request: Request) -> Caller:
    """The caller. Raises `HubError` 401 for a token that is wrong, expired or withdrawn, or whose
    owner is disabled; a cookie of that kind means nobody."""
    header = request.headers.get("authorization")
    token = _token(header) if header else None
    if token is not None:
        return _by_token(hub, token)
    cookie = session_code(hub, request)
    return _by_session(hub, cookie) if cookie else NOBODY


def _token(header: str) -> str | None:
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":  # git and git-lfs send user:token
        try:
            return base64.b64decode(rest).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return None


def _rows(hub: Hub, query: Prepared, secret: str) -> Sequence[Row[Any]]:
    asked = {"secret": fingerprint(secret)}

    def look(connection: Connection) -> Sequence[Row[Any]]:
        return query.all(connection, asked)

    return hub.memory.read((query is _BY_TOKEN, asked["secret"]), look)


def _by_token(hub: Hub, token: str) -> Caller:
    rows = _rows(hub, _BY_TOKEN, token)
    row = rows[0] if rows else None
    at = now()
    expired = row is not None and row.expires_at is not None and row.expires_at <= at
    if row is None or expired or row.disabled_at is not None:
        raise HubError(401, "Invalid credentials in Authorization header")
    if row.used_at is None or at - row.used_at > NOTE_USE_EVERY:
        _note_use(hub, row.token_id, at)
    return Caller(
        id=row.id,
        name=row.name,
        admin=row.admin and row.scope == "write",
        scope=row.scope,
        label=row.label,
        repos=tuple(row.repos or ()),
        roles={one.org_id: one.role for one in rows if one.org_id is not None},
    )


def _note_use(hub: Hub, token_id: int, at: int) -> None:
    try:
        with hub.database.write() as connection:
            connection.execute(update(tokens).where(tokens.c.id == token_id).values(used_at=at))
    except HubError as error:  # a full disk must not keep readers out
        log.warning("the use of a token was not noted: %s", error)


def _by_session(hub: Hub, cookie: str) -> Caller:
    rows = _rows(hub, _BY_SESSION, cookie)
    row = rows[0] if rows else None
    if row is None or row.expires_at <= now() or row.disabled_at is not None:
        return NOBODY
    return Caller(
        id=row.id,
        name=row.name,
        admin=row.admin,
        scope="write",
        session=True,
        csrf=row.csrf,
        roles={one.org_id: one.role for one in rows if one.org_id is not None},
    )


def over_https(hub: Hub, request: Request) -> bool:
    """Whether the browser speaks https to this hub (or to the proxy before it)."""
    return (hub.settings.public_url or str(request.url)).startswith("https:")


def session_code(hub: Hub, request: Request) -> str | None:
    """The code in the session's cookie."""
    if "cookie" not in request.headers:
        return None
    return request.cookies.get(SAFE_COOKIE if over_https(hub, request) else COOKIE)


def set_session(hub: Hub, request: Request, response: Response, session: Session) -> None:
    """Give the browser the cookie of a session just begun."""
    secure = over_https(hub, request)
    response.set_cookie(
        SAFE_COOKIE if secure else COOKIE,
        session.code,
        max_age=hub.settings.session_lifetime,
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )


def clear_session(hub: Hub, request: Request, response: Response) -> None:
    """Take the cookie back from the browser."""
    secure = over_https(hub, request)
    name = SAFE_COOKIE if secure else COOKIE
    response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="lax")


def end_session(hub: Hub, request: Request, response: Response) -> Response:
    """The same answer, with which the browser's session is over, here and there."""
    code = session_code(hub, request)
    if code:
        sign_out(hub, code)
    clear_session(hub, request, response)
    return response
