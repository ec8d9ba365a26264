"""What an account says of itself, and what others see of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, func, select

from llmos.hub.accounts import audit, texts
from llmos.hub.accounts.rights import account_row
from llmos.hub.database.tables import accounts, keys, memberships
from llmos.hub.errors import HubError, bad_request

CHECKS: dict[str, Callable[[Any], Any]] = {
    "full_name": lambda value: texts.line(value, "full_name", 200),
    "email": texts.email,
    "country": texts.country,
    "languages": texts.languages,
    "about": lambda value: texts.paragraphs(value, "about", 5000),
    "website": texts.website,
    "private_default": bool,  # whether new repositories are private unless somebody says otherwise
}


def checked_profile(about: dict[str, Any]) -> dict[str, Any]:
    """The columns of `accounts` that `about` sets. Raises `HubError` 400, 422."""
    unknown = sorted(set(about) - set(CHECKS))
    if unknown:
        raise bad_request(f"{unknown[0][:40]}: a profile has {', '.join(CHECKS)}")
    return {name: CHECKS[name](value) for name, value in about.items()}


def set_profile(connection: Connection, actor: str, account: Row[Any], **about: Any) -> None:
    """Change what an account says of itself. The log names the fields, not what they say."""
    values = checked_profile(about)
    if not values:
        return
    connection.execute(accounts.update().where(accounts.c.id == account.id).values(**values))
    audit.record(connection, actor, f"{account.kind}.profile", account.name, fields=sorted(values))


def active_account(connection: Connection, name: str, kind: str | None = None) -> Row[Any]:
    """The account of that name. Raises `HubError` 404, also for one that is disabled."""
    row = account_row(connection, name)
    if row is None or row.disabled_at is not None or (kind and row.kind != kind):
        raise _no_such({"org": "organisation", "user": "user"}.get(kind or "", "account"))
    return row


def known_account(connection: Connection, name: str, what: str = "account") -> Row[Any]:
    """The account of that name, disabled or not. Raises `HubError` 404 with the word `what`."""
    row = account_row(connection, name)
    if row is None:
        raise _no_such(what)
    return row


def _no_such(what: str) -> HubError:
    return HubError(404, f"There is no such {what}")


def public_profile(connection: Connection, account: Row[Any]) -> dict[str, Any]:
    """What everybody may see of an account; `members` only of an organisation."""
    shown = {name: account._mapping[name] for name in ("name", "kind", "full_name", "country")}
    shown |= {name: account._mapping[name] for name in ("languages", "about", "website")}
    shown["created_at"] = account.created_at
    names = ("public_key", "label", "created_at", "revoked_at")
    shown["keys"] = [
        {name: row._mapping[name] for name in names}
        for row in connection.execute(
            select(keys).where(keys.c.account_id == account.id).order_by(keys.c.id)
        )
    ]
    if account.kind == "org":
        count = select(func.count()).where(memberships.c.org_id == account.id)
        shown["members"] = connection.execute(count).scalar_one()
    else:
        shown["organisations"] = [
            {"name": row.name, "full_name": row.full_name, "role": row.role}
            for row in connection.execute(organisations_of(account.id))
        ]
    return shown


def organisations_of(user_id: int) -> Any:
    """The statement that finds a user's organisations: name, full_name, role; by name."""
    return (
        select(accounts.c.id, accounts.c.name, accounts.c.full_name, memberships.c.role)
        .join(memberships, memberships.c.org_id == accounts.c.id)
        .where(memberships.c.user_id == user_id)
        .order_by(accounts.c.name_key)
    )
