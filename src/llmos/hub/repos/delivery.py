"""A blob's bytes on their way out: never those of a damaged one as if they were good."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from llmos.hub.accounts.rights import Right
from llmos.hub.database.connection import now
from llmos.hub.database.tables import blobs
from llmos.hub.errors import HubError, forbidden
from llmos.hub.git.entries import Entry
from llmos.hub.hub import Hub
from llmos.hub.repos.content import plain_text
from llmos.hub.uploads.landing import danger_of

log = logging.getLogger("llmos.hub")
SMALL = 1 << 20  # bytes; a smaller file is hashed each time it is sent whole
TRUSTED = 7 * 86_400_000  # milliseconds for which a larger one is not hashed again

_STATE = select(
    *(blobs.c.state, blobs.c.reason, blobs.c.facts, blobs.c.created_at, blobs.c.checked_at),
    blobs.c.xet_hash,
).where(blobs.c.sha256 == bindparam("sha256"))


@dataclass(frozen=True, slots=True)
class Delivery:
    """A file that may be sent."""

    hub: Hub
    sha256: str
    size: int
    state: Any  # its row of `blobs`, or None
    xet_hash: str | None = None  # by which it can be fetched over Xet, where it can

    def link(self, filename: str, seconds: int) -> str | None:
        """An address in the store itself, good for `seconds`; None where it has none."""
        return self.hub.blobs.link(self.sha256, seconds=seconds, filename=filename)

    def check(self) -> None:
        """Hash all of it. Raises `HubError` 503 when it is damaged."""
        for _ in self._hashed():
            pass

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Its bytes from `start` up to `stop`. Raises `HubError` 503 when they are damaged: before
        the first, or, by breaking off, before the last."""
        whole = start == 0 and stop == self.size
        if whole and self._is_due():
            return self._hashed()
        return self._counted(start, stop)

    def _is_due(self) -> bool:
        """Whether the bytes are to be hashed on their way out."""
        if self.size <= SMALL or self.state is None:
            return True
        seen = max(self.state.created_at, self.state.checked_at or 0)
        return bool(now() - seen > TRUSTED)

    def _counted(self, start: int, stop: int) -> Iterator[bytes]:
        left = stop - start
        for piece in self._pieces(start, stop):
            left -= len(piece)
            yield piece
        if left:
            raise self._damaged(f"{left} bytes are missing")

    def _hashed(self) -> Iterator[bytes]:
        """All bytes; the last piece is held back until they are known to be right."""
        digest, held = hashlib.sha256(), b""
        for piece in self._pieces(0, self.size):
            digest.update(piece)
            if held:
                yield held
            held = piece
        if digest.hexdigest() != self.sha256:
            raise self._damaged("its bytes have changed")
        if self.size > SMALL:
            self._note(checked_at=now())
        yield held

    def _pieces(self, start: int, stop: int) -> Iterator[bytes]:
        try:
            yield from self.hub.blobs.read(self.sha256, start, stop)
        except HubError as error:
            if error.status == 404:
                raise self._damaged("it is not there") from error
            raise

    def _damaged(self, why: str) -> HubError:
        log.error("blob %s is damaged: %s", self.sha256, why)
        self._note(state="damaged", reason=why)
        if self.hub.blobs.size(self.sha256) is not None:
            self.hub.blobs.set_aside(self.sha256)  # so that the file sent again takes its place
        return damaged()

    def _note(self, **values: object) -> None:
        with self.hub.database.write() as connection:
            same = update(blobs).where(blobs.c.sha256 == self.sha256)
            connection.execute(same.values(**values))


def damaged() -> HubError:
    """503: the hub has the file no longer as it was sent."""
    return HubError(
        503,
        "This file is damaged on the hub and is not served. Its admin can restore it from a "
        "backup; sending it again mends it too",
    )


def xet_hash_of(path: str, state: Any) -> str | None:
    """By which a file of that name can be fetched over Xet, by its row of `blobs`. What can run
    code goes another way, on which its name is seen."""
    if state is None or state.state != "good" or danger_of(path, state):
        return None
    return state.xet_hash  # type: ignore[no-any-return]


def deliver(hub: Hub, connection: Connection, path: str, entry: Entry, right: Right) -> Delivery:
    """A file as it may be sent to somebody with `right` on its repository; every way to its bytes
    leads through here. `path` is "" where it is asked for by its hash: then what it holds decides.

    Raises `HubError` 403 for one that can run code (but not for those who manage the repository),
    503 for one that is damaged.
    """
    state = connection.execute(_STATE, {"sha256": entry.key}).first()
    if state is not None and state.state == "damaged":
        raise damaged()
    danger = danger_of(path, state)
    if danger and right < Right.MANAGE:
        raise forbidden(
            "{file} is kept back, as opening it can run code ({why}). Ask for it as safetensors",
            file=path or entry.key,
            why=danger,
        )
    return Delivery(hub, entry.key, entry.size, state, xet_hash_of(path, state))


def text_of(hub: Hub, path: str, entry: Entry, limit: int) -> str | None:
    """A file's text (UTF-8) for a page; None when it is longer than `limit` bytes, no text, kept
    back or damaged."""
    if entry.size > limit:
        return None
    try:
        with hub.database.read() as connection:
            file = deliver(hub, connection, path, entry, Right.CONTENT)
        return plain_text(b"".join(file.read(0, entry.size)))
    except HubError as error:
        if error.status in (403, 503):
            return None
        raise
