"""What was read lately, forgotten as soon as anything in the database has changed.

A database tells cheaply whether another connection, of this or any other process, has changed it:
SQLite in a few microseconds by `PRAGMA data_version`, PostgreSQL in one short question by the text
of `pg_current_snapshot()`, which names all transactions whose writes are seen. So what is
remembered is never older than what a query would find.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, PoolProxiedConnection
from sqlalchemy.exc import SQLAlchemyError

from llmos.hub.database.connection import Database

T = TypeVar("T")
ROOM = 32 << 20  # bytes of answers that are kept, about
EACH = 2_000  # that a row or an entry takes, about
LARGEST = 1 << 20  # a larger answer is not kept


class Watch(Protocol):
    """What tells whether a database has changed. Used by one thread at a time."""

    def version(self) -> Hashable | None:
        """Another value after each change; None: it cannot be told now."""

    def close(self) -> None:
        """Let go of the connection."""


class SQLiteWatch:
    """A connection that never writes, so that every change is another connection's."""

    def __init__(self, database: Database) -> None:
        assert database.file is not None
        self._connection = sqlite3.connect(database.file, check_same_thread=False)
        self._connection.isolation_level = None

    def version(self) -> Hashable:
        """See `Watch.version`."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    def close(self) -> None:
        """See `Watch.close`."""
        self._connection.close()


class PostgreSQLWatch:
    """A connection of its own, outside of transactions: each question sees a new snapshot."""

    def __init__(self, database: Database) -> None:
        self._engine = database.engine
        self._connection: PoolProxiedConnection | None = None

    def version(self) -> Hashable | None:
        """See `Watch.version`. A server that was restarted is connected to anew the next time."""
        try:
            if self._connection is None:
                self._connection = self._engine.raw_connection()
                self._connection.driver_connection.autocommit = True  # type: ignore[union-attr]
            asked = self._connection.cursor()
            asked.execute("SELECT pg_current_snapshot()::text")
            row = asked.fetchone()
        except (SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error):
            self.close()
            return None
        return str(row[0]) if row else None

    def close(self) -> None:
        """See `Watch.close`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.invalidate()  # it is not one that others could use: autocommit


class Memory:
    """Answers of queries, by what was asked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watch: Watch = SQLiteWatch(database) if database.file else PostgreSQLWatch(database)
        self._lock = threading.Lock()
        self._version: Hashable | None = None
        self._held: dict[Hashable, Any] = {}
        self._bytes = 0

    def read(
        self,
        asked: Hashable,
        look: Callable[[Connection], T],
        size: Callable[[T], int] = lambda _: EACH,
    ) -> T:
        """What `look` finds in the database; `size` tells how many bytes that takes.

        It must only read, and `asked` must say all that its answer depends on beside the database.
        What it raises is not remembered.
        """
        with self._lock:
            version = self._now()
            if asked in self._held:
                known: T = self._held[asked]
                return known
        with self._database.read() as connection:
            found = look(connection)
        with self._lock:
            taken = size(found)
            if version is not None and version == self._version and taken < LARGEST:
                if self._bytes + taken > ROOM:
                    self._forget()
                self._held[asked] = found
                self._bytes += taken
        return found

    def _now(self) -> Hashable | None:
        """The database's version; what was remembered of an older one is dropped."""
        version = self._watch.version()
        if version is None or version != self._version:
            self._forget()
            self._version = version
        return version

    def _forget(self) -> None:
        self._held.clear()
        self._bytes = 0

    def close(self) -> None:
        """Let go of the database."""
        self._watch.close()
