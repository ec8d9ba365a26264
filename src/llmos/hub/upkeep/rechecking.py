"""Blobs re-hashed while the hub runs, slowly, those first that were not for the longest time."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Sequence

from sqlalchemy import Connection, or_, select, update

from llmos.hub.database.connection import now
from llmos.hub.database.tables import blobs
from llmos.hub.errors import HubError
from llmos.hub.hub import Hub

log = logging.getLogger("llmos.hub.upkeep")
EVERY = 7 * 86400 * 1000  # milliseconds: a blob is not re-hashed more often
WAIT = 60.0  # seconds until looking again when there is nothing to do
SOME = 100


class Rechecking:
    """A thread that re-hashes blobs at `settings.recheck_rate` bytes a second; use it in a `with`
    block. What it finds damaged is set aside and noted; `llmos hub fsck` tells whose it is."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="rechecking")

    def __enter__(self) -> Rechecking:
        if self._hub.settings.recheck_rate:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.ident:
            self._thread.join(5)

    def _run(self) -> None:
        wait = WAIT  # the start is for those who wait for it
        while not self._stop.wait(wait):
            wait = WAIT
            try:
                wait = 0.0 if recheck_some(self._hub, self._pause) else WAIT
            except HubError as error:
                log.warning("re-hashing waits: %s", error)
            except Exception:
                log.exception("re-hashing failed")

    def _pause(self, size: int) -> bool:
        return self._stop.wait(size / self._hub.settings.recheck_rate)


def recheck_some(hub: Hub, pause: object = None, *, before: int | None = None) -> int:
    """Re-hash some blobs that were last checked before `before` (milliseconds; a week ago) and
    return how many. `pause(bytes)` is called after each piece; True ends it."""
    before = now() - EVERY if before is None else before
    late = or_(blobs.c.checked_at.is_(None), blobs.c.checked_at < before)
    with hub.database.read() as connection:
        rows = connection.execute(
            select(blobs.c.sha256, blobs.c.size)
            .where(late, blobs.c.state != "damaged")
            .order_by(blobs.c.checked_at)
            .limit(SOME)
        ).all()
    good: list[str] = []
    stopped = False
    for row in rows:
        problem = damage(hub, row.sha256, row.size, pause)
        if problem is None:
            stopped = True
            break
        if not problem:
            good.append(row.sha256)
            continue
        log.error("blob %s: %s", row.sha256, problem)
        set_aside(hub, row.sha256)
        with hub.database.write() as connection:
            note_damaged(connection, row.sha256, problem)
    if good:
        with hub.database.write() as connection:
            note_checked(connection, good)
    return 0 if stopped else len(rows)


def damage(hub: Hub, sha256: str, size: int, pause: object = None) -> str | None:
    """What is wrong with a blob's bytes; "" when nothing is; None when `pause` ended it."""
    there = hub.blobs.size(sha256)
    if there is None:
        return "is missing"
    if there != size:
        return f"has {there:,} bytes instead of {size:,}"
    digest = hashlib.sha256()
    try:
        for piece in hub.blobs.read(sha256):
            digest.update(piece)
            if callable(pause) and pause(len(piece)):
                return None
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return "" if digest.hexdigest() == sha256 else "has other bytes than those that were sent"


def note_checked(connection: Connection, good: Sequence[str]) -> None:
    """Write down that these blobs were re-hashed and are good."""
    same = blobs.c.sha256.in_(good)
    connection.execute(update(blobs).where(same).values(checked_at=now()))


def note_damaged(connection: Connection, sha256: str, problem: str) -> None:
    """Write down what is wrong with a blob."""
    values = {"checked_at": now(), "state": "damaged", "reason": problem}
    connection.execute(update(blobs).where(blobs.c.sha256 == sha256).values(**values))


def set_aside(hub: Hub, sha256: str) -> None:
    """Take a damaged blob out of reach; a file sent again takes its place."""
    if hub.blobs.size(sha256) is not None:
        hub.blobs.set_aside(sha256)
