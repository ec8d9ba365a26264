"""Accounts made, joined to organisations, given tokens."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import ROLES, account_row
from llmos.hub.accounts.secrets import fingerprint, new_token
from llmos.hub.database.connection import now
from llmos.hub.database.tables import accounts, memberships, tokens
from llmos.hub.errors import HubError, bad_request, conflict
from llmos.hub.repos.names import checked_account_name

SCOPES = ("read", "write", "fineGrained")


def make_account(
    connection: Connection, actor: str, name: str, kind: str = "user", **about: Any
) -> Row[Any]:
    """A new user or organisation (`kind` org); `about` are further columns of `accounts`.

    Raises `HubError` 400 for a name that is not allowed, 409 for one that is taken.
    """
    checked_account_name(name)
    if account_row(connection, name):
        raise HubError(409, "The name {name} is taken: choose another", values={"name": name})
    row = {"name": name, "name_key": name.lower(), "kind": kind, "created_at": now(), **about}
    connection.execute(accounts.insert(), row)
    audit.record(connection, actor, f"{kind}.create", name)
    made = account_row(connection, name)
    assert made is not None
    return made


def set_role(connection: Connection, actor: str, org: Row[Any], user: Row[Any], role: str) -> None:
    """Put a user into an organisation, or change the role there.

    Raises `HubError` 400 for a role that is none, 409 when the last admin would be one no more.
    """
    if role not in ROLES:
        raise bad_request(f"role {role[:20]}: choose one of {', '.join(ROLES)}")
    if org.kind != "org" or user.kind != "user":
        raise bad_request(f"{user.name} cannot join {org.name}: only users join organisations")
    if role != "admin":
        keep_an_admin(connection, org, leaving=user.id)
    same = (memberships.c.org_id == org.id) & (memberships.c.user_id == user.id)
    if connection.execute(select(memberships.c.role).where(same)).first():
        connection.execute(memberships.update().where(same).values(role=role))
    else:
        row = {"org_id": org.id, "user_id": user.id, "role": role, "created_at": now()}
        connection.execute(memberships.insert(), row)
    audit.record(connection, actor, "org.role", org.name, user=user.name, role=role)


def keep_an_admin(connection: Connection, org: Row[Any], leaving: int) -> None:
    """Raise `HubError` 409 if without the user `leaving` no active admin would be left."""
    connection.execute(select(accounts.c.id).where(accounts.c.id == org.id).with_for_update())
    admins = connection.scalars(
        select(memberships.c.user_id)
        .join(accounts, accounts.c.id == memberships.c.user_id)
        .where(
            memberships.c.org_id == org.id,
            memberships.c.role == "admin",
            accounts.c.disabled_at.is_(None),
        )
    ).all()
    if list(admins) == [leaving]:
        raise conflict(f"This is the last admin of {org.name}: make somebody else admin first")


def make_token(
    connection: Connection,
    actor: str,
    user: Row[Any],
    *,
    label: str = "default",
    scope: str = "write",
    value: str | None = None,
    repos: list[str] | None = None,
    expires_at: int | None = None,
) -> str:
    """A new token of a user; it is shown this once. `value` fixes it (tests). Raises 400, 409."""
    if scope not in SCOPES:
        raise bad_request(f"scope {scope}: choose one of {', '.join(SCOPES)}")
    secret = value or new_token()
    if len(secret) < 8:
        raise bad_request("a token needs eight characters or more")
    there = select(tokens.c.id).where(tokens.c.sha256 == fingerprint(secret))
    if connection.execute(there).first():
        raise conflict("that token is there already: choose another value")
    row = {
        "account_id": user.id,
        "sha256": fingerprint(secret),
        "label": label,
        "scope": scope,
        "repos": [name.lower() for name in repos] if repos else None,
        "created_at": now(),
        "expires_at": expires_at,
    }
    connection.execute(tokens.insert(), row)
    audit.record(connection, actor, "token.create", user.name, label=label, scope=scope)
    return secret
