"""Sending what webhooks.py has queued: by a thread of the server, again and again until the
receiver says that it has it, each time after a longer wait.

Each delivery is sent at least once: a hub that is killed while sending sends it again. Several
processes on one database share the queue.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from sqlalchemy import Row, delete, select, update

from llmos.hub.database.connection import now
from llmos.hub.database.tables import webhook_deliveries, webhooks
from llmos.hub.errors import HubError
from llmos.hub.hub import Hub
from llmos.hub.together.outgoing import post

log = logging.getLogger("llmos.hub.webhooks")
WAITS = (60, 300, 1800, 7200, 21600)  # seconds after the first, second, ... attempt that failed
LEASE = 120_000  # milliseconds in which nobody else sends a delivery that is being sent
AT_ONCE = 4
LOOK_EVERY = 2.0  # seconds
KEPT = 14 * 86400 * 1000  # milliseconds that deliveries are kept after they were queued
Report = Callable[[str], None]


class Deliveries:
    """The thread that sends; `stop()` ends it."""

    def __init__(self, hub: Hub, report: Report | None = None) -> None:
        self._hub = hub
        self._report = report or (lambda outcome: None)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Take no further deliveries and wait, `timeout` seconds at most, for those under way;
        what was not sent by then is sent at the next start."""
        self._stopped.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        with ThreadPoolExecutor(AT_ONCE, "webhook") as senders:
            while not self._stopped.is_set():
                try:
                    sent = deliver_due(self._hub, senders, self._report)
                except HubError as error:  # a full disk, a database that is away for a while
                    log.warning("webhooks wait: %s", error)
                    sent = 0
                except Exception:  # the thread must live on
                    log.exception("webhooks could not be sent")
                    sent = 0
                if not sent:
                    self._stopped.wait(LOOK_EVERY)


def start_deliveries(hub: Hub, report: Report | None = None) -> Deliveries:
    """Send webhooks from now on, until `stop()` of what comes back. `report` is told the outcome
    of each attempt: done, retry or failed."""
    deliveries = Deliveries(hub, report)
    deliveries.start()
    return deliveries


def deliver_due(hub: Hub, senders: ThreadPoolExecutor, report: Report) -> int:
    """Send what is due, a few at once; returns how many were tried."""
    due = _take(hub)
    for row, outcome in zip(due, senders.map(lambda row: deliver(hub, row), due), strict=True):
        log.info("webhook %s: %s", row.webhook_id, outcome)
        report(outcome)
    return len(due)


def _take(hub: Hub) -> list[Row[Any]]:
    """The next few that are due, reserved for this process."""
    at = now()
    due = (
        select(webhook_deliveries.c.id)
        .where(webhook_deliveries.c.state == "waiting", webhook_deliveries.c.next_at <= at)
        .order_by(webhook_deliveries.c.next_at, webhook_deliveries.c.id)
        .limit(AT_ONCE)
    )
    with hub.database.read() as connection:
        if connection.execute(due).first() is None:
            return []
    with hub.database.write() as connection:
        old = webhook_deliveries.c.created_at < at - KEPT
        connection.execute(delete(webhook_deliveries).where(old))
        ids = list(connection.scalars(due.with_for_update(skip_locked=True)))
        mine = webhook_deliveries.c.id.in_(ids)
        connection.execute(update(webhook_deliveries).where(mine).values(next_at=at + LEASE))
        return list(
            connection.execute(
                select(
                    webhook_deliveries,
                    webhooks.c.url,
                    webhooks.c.secret,
                    webhooks.c.disabled,
                )
                .join(webhooks, webhooks.c.id == webhook_deliveries.c.webhook_id)
                .where(mine)
                .order_by(webhook_deliveries.c.id)
            )
        )


def deliver(hub: Hub, row: Row[Any]) -> str:
    """Send one delivery and write down how it went: done, retry or failed."""
    attempts = row.attempts + 1
    if row.disabled:
        accepted, said, again = False, "the webhook is disabled", False
    else:
        accepted, said, again = _send(hub, row)
    values: dict[str, Any] = {"attempts": attempts, "answer": said[:200]}
    if accepted:
        values["state"] = outcome = "done"
    elif again and attempts <= len(WAITS):
        values["next_at"] = now() + WAITS[attempts - 1] * 1000
        outcome = "retry"
    else:
        values["state"] = outcome = "failed"
    with hub.database.write() as connection:
        this = webhook_deliveries.c.id == row.id
        connection.execute(update(webhook_deliveries).where(this).values(**values))
    return outcome


def _send(hub: Hub, row: Row[Any]) -> tuple[bool, str, bool]:
    """Whether the receiver has it, what it said, and whether to try again."""
    body = orjson.dumps(_completed(row.payload, hub.settings.public_url.rstrip("/")))
    headers = {"Content-Type": "application/json", "User-Agent": "llmos-hub-webhooks"}
    if row.secret:
        mac = hmac.new(row.secret.encode(), body, hashlib.sha256).hexdigest()
        headers |= {"X-Webhook-Secret": row.secret, "X-Webhook-Signature": f"sha256={mac}"}
    private = hub.settings.private_webhooks == "allow"
    try:
        status = post(row.url, body, headers, private=private)
    except HubError as refused:
        return False, refused.message, False
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        return False, f"{type(error).__name__}: {error}", True
    return 200 <= status < 300, f"HTTP {status}", status != 410


def _completed(value: Any, base: str) -> Any:
    """The payload with whole addresses in its `url` objects."""
    if not isinstance(value, dict):
        return value
    return {
        key: {name: base + path for name, path in inner.items()}
        if key == "url"
        else _completed(inner, base)
        for key, inner in value.items()
    }
