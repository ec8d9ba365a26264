"""The log of every write, login and change of rights: each entry's hash is over the one before, so
that none can be changed or taken out unseen (but the newest ones can be cut off: note the head)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import rfc8785
from sqlalchemy import Connection, select, text

from llmos.hub.database.connection import now
from llmos.hub.database.prepared import Prepared
from llmos.hub.database.tables import audit

START = "0" * 64
_ADD = Prepared(audit.insert())
_LAST = Prepared(select(audit.c.number, audit.c.hash).order_by(audit.c.number.desc()).limit(1))
_ALONE = text("SELECT pg_advisory_xact_lock(7103)")


def record(connection: Connection, actor: str, action: str, target: str, **detail: Any) -> None:
    """Add an entry, within the transaction of what it tells. No text content goes in, no secret."""
    if connection.dialect.name == "postgresql":
        connection.execute(_ALONE)  # one chain, one writer
    last = _LAST.first(connection)
    entry = {
        "number": last.number + 1 if last else 1,
        "at": now(),
        "actor": actor,
        "action": action,
        "target": target,
        "detail": detail,
    }
    _ADD.run(connection, {**entry, "hash": entry_hash(last.hash if last else START, entry)})


def entry_hash(before: str, entry: dict[str, Any]) -> str:
    """sha256 over the hash before and the entry as canonical JSON (RFC 8785)."""
    return hashlib.sha256(
        b"llmos/hub-audit/v1" + before.encode() + rfc8785.dumps(entry)
    ).hexdigest()


def broken_entries(connection: Connection) -> Iterator[int]:
    """Numbers of entries whose hash or number does not follow from the one before."""
    before, number = START, 0
    for row in connection.execute(select(audit).order_by(audit.c.number)):
        entry = {
            "number": row.number,
            "at": row.at,
            "actor": row.actor,
            "action": row.action,
            "target": row.target,
            "detail": row.detail,
        }
        number += 1
        if row.number != number or row.hash != entry_hash(before, entry):
            yield row.number
            number = row.number
        before = row.hash
