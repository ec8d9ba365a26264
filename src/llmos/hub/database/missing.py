"""Rows added unless they are there: by two requests at once, too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Executable, Table
from sqlalchemy.dialects import postgresql, sqlite

AT_ONCE = 200  # rows of one statement


@cache
def _statement(dialect: str, table: Table) -> Executable:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(table).on_conflict_do_nothing()


def add_missing(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Add `rows`; one whose key is taken is left out. Give them in an order of their keys that is
    the same everywhere, or two requests may wait for each other."""
    statement = _statement(connection.dialect.name, table)
    for start in range(0, len(rows), AT_ONCE):
        connection.execute(statement, list(rows[start : start + AT_ONCE]))
