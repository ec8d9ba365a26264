"""Rows added unless they are there: by two requests at once, too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from llmos.hub.database.prepared import Prepared


@cache
def _statement(dialect: str, table: Table) -> Prepared:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return Prepared(insert(table).on_conflict_do_nothing())


def add_missing(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Add `rows`; one whose key is taken is left out. Give them in an order of their keys that is
    the same everywhere, or two requests may wait for each other."""
    if rows:
        _statement(connection.dialect.name, table).run_all(connection, rows)
