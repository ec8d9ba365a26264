"""Accounts disabled, enabled, deleted, made admins of the hub. The hub always has an admin."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.organisations import refuse_while_owning
from llmos.hub.accounts.people import keep_an_admin
from llmos.hub.accounts.sessions import end_sessions
from llmos.hub.database.connection import now
from llmos.hub.database.tables import accounts, keys, memberships, tokens
from llmos.hub.errors import conflict


def disable(connection: Connection, actor: str, account: Row[Any]) -> None:
    """Keep an account out: tokens and password open nothing, sessions end, the page is gone. Its
    repositories stay. Raises `HubError` 409 for the hub's last admin."""
    _keep_a_hub_admin(connection, account)
    end_sessions(connection, account.id)
    at = account.disabled_at or now()
    connection.execute(update(accounts).where(accounts.c.id == account.id).values(disabled_at=at))
    audit.record(connection, actor, f"{account.kind}.disable", account.name)


def enable(connection: Connection, actor: str, account: Row[Any]) -> None:
    """Let a disabled account in again."""
    connection.execute(update(accounts).where(accounts.c.id == account.id).values(disabled_at=None))
    audit.record(connection, actor, f"{account.kind}.enable", account.name)


def set_hub_admin(connection: Connection, actor: str, user: Row[Any], admin: bool) -> None:
    """Make a user an admin of the whole hub, or no longer. Raises `HubError` 409 for the last."""
    if user.kind != "user":
        raise conflict(f"{user.name} is an organisation: only users can be admins")
    if not admin:
        _keep_a_hub_admin(connection, user)
    connection.execute(update(accounts).where(accounts.c.id == user.id).values(admin=admin))
    audit.record(connection, actor, "user.admin", user.name, admin=admin)


def delete_user(connection: Connection, actor: str, user: Row[Any]) -> None:
    """Delete a user: what they said of themselves, password, tokens, sessions and memberships go,
    keys are revoked. The name stays taken, because commits and signatures bear it and nobody else
    should pass for it.

    Raises `HubError` 409 while they own repositories or are the last admin of an organisation or of
    the hub.
    """
    refuse_while_owning(connection, user)
    orgs = select(accounts).join(memberships, memberships.c.org_id == accounts.c.id)
    for org in connection.execute(orgs.where(memberships.c.user_id == user.id)).all():
        keep_an_admin(connection, org, leaving=user.id)
    disable(connection, actor, user)
    connection.execute(delete(tokens).where(tokens.c.account_id == user.id))
    connection.execute(delete(memberships).where(memberships.c.user_id == user.id))
    still = (keys.c.account_id == user.id) & keys.c.revoked_at.is_(None)
    connection.execute(update(keys).where(still).values(revoked_at=now()))
    blank = {name: "" for name in ("full_name", "email", "country", "about", "website")}
    connection.execute(
        update(accounts)
        .where(accounts.c.id == user.id)
        .values(**blank, languages=[], password=None, admin=False)
    )
    audit.record(connection, actor, "user.delete", user.name)


def _keep_a_hub_admin(connection: Connection, leaving: Row[Any]) -> None:
    admins = connection.scalars(
        select(accounts.c.id)
        .where(accounts.c.admin, accounts.c.disabled_at.is_(None))
        .with_for_update()
    ).all()
    if list(admins) == [leaving.id]:
        raise conflict(f"{leaving.name} is the last admin of this hub: make another one first")
