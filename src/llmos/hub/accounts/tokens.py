"""A user's tokens: listed, made, withdrawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select

from llmos.hub.accounts import audit, texts
from llmos.hub.accounts.people import make_token
from llmos.hub.database.connection import now
from llmos.hub.database.tables import tokens
from llmos.hub.errors import HubError, conflict, unprocessable
from llmos.hub.repos.names import checked_name

MOST = 200  # of one user
DAY = 86_400_000  # milliseconds
LONGEST_DAYS = 3660


def tokens_of(connection: Connection, user_id: int) -> Sequence[Row[Any]]:
    """A user's tokens, newest first: id, label, scope, repos and times, never the secret."""
    names = ("id", "label", "scope", "repos", "created_at", "expires_at", "used_at")
    return connection.execute(
        select(*(tokens.c[name] for name in names))
        .where(tokens.c.account_id == user_id)
        .order_by(tokens.c.id.desc())
    ).all()


def add_token(
    connection: Connection,
    actor: str,
    user: Row[Any],
    *,
    label: str,
    scope: str,
    repos: Sequence[str] = (),
    days: int | None = None,
    value: str | None = None,
) -> str:
    """A new token, which is shown this once.

    A fineGrained one writes only to `repos`: names of repositories, or of accounts for all that are
    theirs. It expires after `days` (None: never). Raises `HubError` 400, 409, 422.
    """
    label = texts.line(label, "label", 100)
    if not label:
        raise unprocessable("A token needs a label, so that it can be found when it must go")
    if (scope == "fineGrained") != bool(repos):
        raise unprocessable("A fineGrained token names the repositories it is for; no other does")
    if len(repos) > 100:
        raise unprocessable("repos: at most 100")
    for name in repos:
        for part in name.split("/", 1):
            checked_name(part, "repository")
    if days is not None and not 0 < days <= LONGEST_DAYS:
        raise unprocessable(f"days: from 1 to {LONGEST_DAYS}")
    count = select(func.count()).where(tokens.c.account_id == user.id)
    if connection.execute(count).scalar_one() >= MOST:
        raise conflict(f"{user.name} has {MOST} tokens: withdraw some first")
    return make_token(
        connection,
        actor,
        user,
        label=label,
        scope=scope,
        value=value,
        repos=list(repos) or None,
        expires_at=None if days is None else now() + days * DAY,
    )


def revoke_token(connection: Connection, actor: str, user: Row[Any], token_id: int) -> None:
    """Withdraw a token: from now on it opens nothing. Raises `HubError` 404."""
    same = (tokens.c.id == token_id) & (tokens.c.account_id == user.id)
    row = connection.execute(select(tokens.c.label).where(same)).first()
    if row is None:
        raise HubError(404, "There is no such token")
    connection.execute(delete(tokens).where(same))
    audit.record(connection, actor, "token.revoke", user.name, label=row.label)
