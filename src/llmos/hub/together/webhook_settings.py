"""Webhooks as their owners set them up. What they are told: see webhooks.py."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, delete, func, select, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller
from llmos.hub.database.connection import now
from llmos.hub.database.tables import (
    accounts,
    webhook_deliveries,
    webhook_watches,
    webhooks,
)
from llmos.hub.errors import HubError, bad_request
from llmos.hub.together.outgoing import checked_url

DOMAINS = ("repo", "discussion")
WATCHED = ("dataset", "model", "org", "run", "space", "user")
MOST = 100  # webhooks of a user
MOST_WATCHED = 200
LONGEST_SECRET = 200


def webhook_row(
    connection: Connection, caller: Caller, webhook_id: str, *, lock: bool = False
) -> Row[Any]:
    """A webhook of the caller's. Raises `HubError` 404."""
    wanted = select(webhooks).where(
        webhooks.c.account_id == caller.id, webhooks.c.webhook_id == webhook_id
    )
    row = connection.execute(wanted.with_for_update() if lock else wanted).first()
    if row is None:
        raise HubError(404, "Webhook not found")
    return row


def list_webhooks(connection: Connection, caller: Caller) -> Sequence[Row[Any]]:
    """All webhooks of the caller's, the oldest first."""
    return connection.execute(
        select(webhooks).where(webhooks.c.account_id == caller.id).order_by(webhooks.c.id)
    ).all()


def deliveries_of(connection: Connection, hook: Row[Any], most: int) -> Sequence[Row[Any]]:
    """The newest deliveries of a webhook."""
    return connection.execute(
        select(webhook_deliveries)
        .where(webhook_deliveries.c.webhook_id == hook.id)
        .order_by(webhook_deliveries.c.id.desc())
        .limit(most)
    ).all()


def make_webhook(
    connection: Connection,
    caller: Caller,
    url: str,
    watched: Sequence[Mapping[str, str]],
    domains: Sequence[str] = DOMAINS,
    secret: str | None = None,
) -> Row[Any]:
    """A new webhook. Raises `HubError` 400 for values that are refused."""
    connection.execute(select(accounts.c.id).where(accounts.c.id == caller.id).with_for_update())
    count = connection.execute(
        select(func.count()).select_from(webhooks).where(webhooks.c.account_id == caller.id)
    ).scalar_one()
    if count >= MOST:
        raise bad_request(f"You have {count} webhooks; more are not kept")
    row = {
        "account_id": caller.id,
        "webhook_id": secrets.token_hex(12),
        "url": checked_url(url),
        "secret": checked_secret(secret),
        "watched": checked_watched(watched),
        "domains": checked_domains(domains),
        "created_at": now(),
    }
    connection.execute(webhooks.insert(), row)
    made = webhook_row(connection, caller, str(row["webhook_id"]))
    _watch(connection, made)
    _audit(connection, caller, made, "create")
    return made


def change_webhook(
    connection: Connection, caller: Caller, webhook_id: str, changes: Mapping[str, Any]
) -> Row[Any]:
    """Change url, watched, domains, secret or disabled; returns the webhook.

    Raises `HubError` 404, 400.
    """
    row = webhook_row(connection, caller, webhook_id, lock=True)
    checks: dict[str, Callable[[Any], Any]] = {
        "url": checked_url,
        "watched": checked_watched,
        "domains": checked_domains,
        "secret": checked_secret,
        "disabled": bool,
    }
    values = {name: checks[name](value) for name, value in changes.items()}
    if values:
        this = webhooks.c.id == row.id
        connection.execute(update(webhooks).where(this).values(**values))
    changed = webhook_row(connection, caller, webhook_id)
    _watch(connection, changed)
    _audit(connection, caller, changed, "change")
    return changed


def delete_webhook(connection: Connection, caller: Caller, webhook_id: str) -> None:
    """Delete a webhook with what it had yet to send. Raises `HubError` 404."""
    row = webhook_row(connection, caller, webhook_id, lock=True)
    connection.execute(delete(webhooks).where(webhooks.c.id == row.id))
    _audit(connection, caller, row, "delete")


def _watch(connection: Connection, row: Row[Any]) -> None:
    mine = webhook_watches.c.webhook_id == row.id
    connection.execute(delete(webhook_watches).where(mine))
    pairs = {(item["type"], item["name"].lower()) for item in row.watched}
    rows = [{"webhook_id": row.id, "kind": kind, "name_key": key} for kind, key in sorted(pairs)]
    connection.execute(webhook_watches.insert(), rows)


def checked_watched(watched: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """What to watch: {"type", "name"} each. Raises `HubError` 400."""
    if not 0 < len(watched) <= MOST_WATCHED:
        raise bad_request(f"watched: name 1 to {MOST_WATCHED} things")
    for item in watched:
        if item["type"] not in WATCHED:
            raise bad_request(f"watched.type: choose one of {', '.join(WATCHED)}")
        if not 0 < len(item["name"]) <= 200 or not item["name"].isprintable():
            raise bad_request("watched.name: the name of a user, an organisation or a repository")
    return [{"type": item["type"], "name": item["name"]} for item in watched]


def checked_domains(domains: Sequence[str]) -> list[str]:
    """What to be told of: repo, discussion. Raises `HubError` 400."""
    if not domains or any(domain not in DOMAINS for domain in domains):
        raise bad_request(f"domains: choose from {', '.join(DOMAINS)}")
    return [domain for domain in DOMAINS if domain in domains]


def checked_secret(secret: str | None) -> str | None:
    """What goes into a header of each delivery. Raises `HubError` 400."""
    if secret is None or secret == "":
        return None
    if not (secret.isascii() and secret.isprintable()) or len(secret) > LONGEST_SECRET:
        raise bad_request(f"secret: printable ASCII, at most {LONGEST_SECRET} letters")
    return secret


def _audit(connection: Connection, caller: Caller, row: Row[Any], what: str) -> None:
    host = urlsplit(row.url).hostname or ""
    audit.record(
        connection, caller.name, f"webhook.{what}", row.webhook_id, host=host, off=row.disabled
    )
