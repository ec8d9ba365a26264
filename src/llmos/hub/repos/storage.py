"""What accounts store."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, select, tuple_

from llmos.hub.database.tables import repos
from llmos.hub.repos.listing import Cursor


def stored_by(connection: Connection, owner_id: int) -> int:
    """Bytes of all repositories of an account; a file that two of them hold counts twice."""
    total = select(func.coalesce(func.sum(repos.c.used_bytes), 0))
    return int(connection.execute(total.where(repos.c.owner_id == owner_id)).scalar_one())


def owned(
    connection: Connection, owner_id: int, limit: int, after: Cursor | None
) -> tuple[list[Row[Any]], Cursor | None]:
    """An account's repositories of all kinds, the largest first, and the cursor for the next
    page."""
    columns = ("id", "kind", "full_name", "private", "updated_at", "used_bytes")
    query = select(*(repos.c[name] for name in columns)).where(repos.c.owner_id == owner_id)
    if after is not None:
        here = tuple_(repos.c.used_bytes, repos.c.id)
        query = query.where(here < tuple_(after.value, after.id))
    query = query.order_by(repos.c.used_bytes.desc(), repos.c.id.desc()).limit(limit + 1)
    rows = list(connection.execute(query).all())
    more = Cursor(rows[limit - 1].used_bytes, rows[limit - 1].id) if len(rows) > limit else None
    return rows[:limit], more
