"""Who is asking: a token in the Authorization header, or a browser's session cookie."""

from __future__ import annotations

import base64
import binascii

from sqlalchemy import select, update
from starlette.requests import Request

from llmos.hub.accounts.rights import NOBODY, Caller, roles_of
from llmos.hub.accounts.secrets import fingerprint
from llmos.hub.database.connection import now
from llmos.hub.database.tables import accounts, sessions, tokens
from llmos.hub.errors import HubError
from llmos.hub.hub import Hub

COOKIE = "llmos_session"
NOTE_USE_EVERY = 3600 * 1000  # milliseconds between two notes of when a token was last used


def caller_of(hub: Hub, request: Request) -> Caller:
    """The caller. Raises `HubError` 401 for a token that is wrong, expired or withdrawn."""
    token = _token(request.headers.get("authorization", ""))
    if token is not None:
        return _by_token(hub, token)
    cookie = request.cookies.get(COOKIE)
    return _by_session(hub, cookie) if cookie else NOBODY


def _token(header: str) -> str | None:
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":  # git and git-lfs send user:token
        try:
            return base64.b64decode(rest).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return None


def _by_token(hub: Hub, token: str) -> Caller:
    columns = (
        tokens.c.id.label("token_id"),
        *(tokens.c[name] for name in ("label", "scope", "repos", "expires_at", "used_at")),
        *(accounts.c[name] for name in ("id", "name", "admin", "disabled_at")),
    )
    with hub.database.read() as connection:
        row = connection.execute(
            select(*columns)
            .join(accounts, accounts.c.id == tokens.c.account_id)
            .where(tokens.c.sha256 == fingerprint(token))
        ).first()
        expired = row is not None and row.expires_at is not None and row.expires_at < now()
        if row is None or expired or row.disabled_at is not None:
            raise HubError(401, "Invalid credentials in Authorization header")
        roles = roles_of(connection, row.id)
    if row.used_at is None or now() - row.used_at > NOTE_USE_EVERY:
        with hub.database.write() as connection:
            connection.execute(
                update(tokens).where(tokens.c.id == row.token_id).values(used_at=now())
            )
    return Caller(
        id=row.id,
        name=row.name,
        admin=row.admin and row.scope == "write",
        scope=row.scope,
        label=row.label,
        repos=tuple(row.repos or ()),
        roles=roles,
    )


def _by_session(hub: Hub, cookie: str) -> Caller:
    with hub.database.read() as connection:
        row = connection.execute(
            select(sessions.c.csrf, accounts.c.id, accounts.c.name, accounts.c.admin)
            .join(accounts, accounts.c.id == sessions.c.account_id)
            .where(
                sessions.c.sha256 == fingerprint(cookie),
                sessions.c.expires_at > now(),
                accounts.c.disabled_at.is_(None),
            )
        ).first()
        if row is None:
            return NOBODY
        roles = roles_of(connection, row.id)
    return Caller(
        id=row.id,
        name=row.name,
        admin=row.admin,
        scope="write",
        session=True,
        csrf=row.csrf,
        roles=roles,
    )
