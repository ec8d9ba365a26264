"""Invitations, to an organisation or to the hub: a code that works once and not for ever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from llmos.hub.accounts import audit, texts
from llmos.hub.accounts.people import set_role
from llmos.hub.accounts.rights import ROLES
from llmos.hub.accounts.secrets import fingerprint, new_code
from llmos.hub.database.connection import now
from llmos.hub.database.tables import accounts, invitations, memberships
from llmos.hub.errors import HubError, bad_request, unprocessable

DAY = 86_400_000  # milliseconds
LONGEST_DAYS = 90


def invite(
    connection: Connection,
    actor: str,
    *,
    by: int | None,
    org: Row[Any] | None = None,
    role: str = "reader",
    email: str = "",
    days: int = 7,
) -> str:
    """A new invitation; its code is shown this once. `by` is the account that invites (None: the
    command line), `org` the organisation (None: only to the hub). Raises `HubError` 400, 422."""
    if role not in ROLES:
        raise bad_request(f"role {role[:20]}: choose one of {', '.join(ROLES)}")
    if not 0 < days <= LONGEST_DAYS:
        raise unprocessable(f"days: from 1 to {LONGEST_DAYS}")
    code = new_code()
    row = {
        "org_id": org.id if org else None,
        "role": role,
        "sha256": fingerprint(code),
        "email": texts.email(email),
        "created_by": by,
        "created_at": now(),
        "expires_at": now() + days * DAY,
    }
    connection.execute(invitations.insert(), row)
    detail = {"role": role} if org else {}
    audit.record(connection, actor, "invitation.create", org.name if org else "", **detail)
    return code


def invitation(connection: Connection, code: str) -> Any:
    """An invitation that still holds: id, org_id, role, email, expires_at, and org (its name).

    Raises `HubError` 404, the same for a code that is wrong, used or expired, or whose sender may
    no longer invite.
    """
    row = connection.execute(
        select(
            *(invitations.c[name] for name in ("id", "org_id", "role", "email", "expires_at")),
            invitations.c.created_by,
            accounts.c.name.label("org"),
        )
        .outerjoin(accounts, accounts.c.id == invitations.c.org_id)
        .where(
            invitations.c.sha256 == fingerprint(code),
            invitations.c.used_at.is_(None),
            invitations.c.expires_at > now(),
        )
    ).first()
    if row is None or not _sender_may(connection, row.created_by, row.org_id):
        raise HubError(404, "This invitation is not valid (any more): ask for another")
    return row


def _sender_may(connection: Connection, sender: int | None, org_id: int | None) -> bool:
    if sender is None:
        return True
    row = connection.execute(
        select(accounts.c.admin, accounts.c.disabled_at, memberships.c.role)
        .outerjoin(
            memberships,
            (memberships.c.user_id == accounts.c.id) & (memberships.c.org_id == org_id),
        )
        .where(accounts.c.id == sender)
    ).first()
    return row is not None and row.disabled_at is None and (row.admin or row.role == "admin")


def accept(connection: Connection, user: Row[Any], code: str) -> Any:
    """Use an invitation up for `user`, who gets the role it gives, if that is more than the one
    there already. Returns the invitation. Raises `HubError` 404."""
    row = invitation(connection, code)
    used = (
        update(invitations)
        .where(invitations.c.id == row.id, invitations.c.used_at.is_(None))
        .values(used_by=user.id, used_at=now())
    )
    if connection.execute(used).rowcount != 1:  # somebody else was quicker
        raise HubError(404, "This invitation is not valid (any more): ask for another")
    audit.record(connection, user.name, "invitation.accept", row.org or "")
    if row.org_id is not None:
        org = connection.execute(select(accounts).where(accounts.c.id == row.org_id)).one()
        there = connection.execute(
            select(memberships.c.role).where(
                memberships.c.org_id == org.id, memberships.c.user_id == user.id
            )
        ).scalar()
        if there is None or ROLES.index(there) < ROLES.index(row.role):
            set_role(connection, user.name, org, user, row.role)
    return row


def open_invitations(connection: Connection, org_id: int | None) -> Sequence[Row[Any]]:
    """Those not used and not expired, of an organisation (None: of the hub), newest first."""
    same = invitations.c.org_id == org_id if org_id is not None else invitations.c.org_id.is_(None)
    names = ("id", "role", "email", "created_at", "expires_at")
    return connection.execute(
        select(*(invitations.c[name] for name in names))
        .where(same, invitations.c.used_at.is_(None), invitations.c.expires_at > now())
        .order_by(invitations.c.id.desc())
    ).all()


def withdraw(connection: Connection, actor: str, org: Row[Any] | None, number: int) -> None:
    """Take an open invitation back. Raises `HubError` 404."""
    org_id = org.id if org else None
    same = invitations.c.org_id == org_id if org else invitations.c.org_id.is_(None)
    gone = delete(invitations).where(
        invitations.c.id == number, same, invitations.c.used_at.is_(None)
    )
    if connection.execute(gone).rowcount == 0:
        raise HubError(404, "There is no such open invitation")
    audit.record(connection, actor, "invitation.withdraw", org.name if org else "")
