"""Organisations: made, joined, left, dissolved. One always has an admin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.people import keep_an_admin, make_account, set_role
from llmos.hub.accounts.profiles import checked_profile
from llmos.hub.database.connection import now
from llmos.hub.database.tables import accounts, invitations, memberships, repos
from llmos.hub.errors import HubError, conflict


def make_organisation(connection: Connection, maker: Row[Any], name: str, **about: Any) -> Row[Any]:
    """A new organisation with `maker`, a user, as its admin. Raises `HubError` 400, 409, 422."""
    org = make_account(connection, maker.name, name, "org", **checked_profile(about))
    set_role(connection, maker.name, org, maker, "admin")
    return org


def members_of(connection: Connection, org_id: int) -> Sequence[Any]:
    """The members that are not disabled: id, name, full_name, role, country, since; by name."""
    return connection.execute(
        select(
            accounts.c.id,
            accounts.c.name,
            accounts.c.full_name,
            accounts.c.country,
            memberships.c.role,
            memberships.c.created_at.label("since"),
        )
        .join(memberships, memberships.c.user_id == accounts.c.id)
        .where(memberships.c.org_id == org_id, accounts.c.disabled_at.is_(None))
        .order_by(accounts.c.name_key)
    ).all()


def remove_member(connection: Connection, actor: str, org: Row[Any], user: Row[Any]) -> None:
    """Take a user out of an organisation. Raises `HubError` 404, 409 for its last admin."""
    same = (memberships.c.org_id == org.id) & (memberships.c.user_id == user.id)
    keep_an_admin(connection, org, leaving=user.id)
    if connection.execute(delete(memberships).where(same)).rowcount == 0:
        raise HubError(404, f"{user.name} is no member of {org.name}")
    audit.record(connection, actor, "org.leave", org.name, user=user.name)


def delete_organisation(connection: Connection, actor: str, org: Row[Any]) -> None:
    """Dissolve an organisation that has no repositories. Its name stays taken, so that nobody can
    pass for it. Raises `HubError` 409."""
    refuse_while_owning(connection, org)
    connection.execute(delete(memberships).where(memberships.c.org_id == org.id))
    connection.execute(delete(invitations).where(invitations.c.org_id == org.id))
    gone = {"full_name": "", "about": "", "website": "", "email": "", "disabled_at": now()}
    connection.execute(update(accounts).where(accounts.c.id == org.id).values(**gone))
    audit.record(connection, actor, "org.delete", org.name)


def refuse_while_owning(connection: Connection, account: Row[Any]) -> None:
    """Raise `HubError` 409 if the account still has repositories."""
    count = select(func.count()).where(repos.c.owner_id == account.id)
    number = connection.execute(count).scalar_one()
    if number:
        raise conflict(f"{account.name} has {number} repositories: move or delete them first")
