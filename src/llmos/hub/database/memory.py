"""What was read lately, forgotten as soon as anything in the database has changed.

SQLite tells in a few microseconds, by `PRAGMA data_version`, whether another connection, of this or
any other process, has changed the file: so what is remembered is never older than what a query
would find. Other databases have nothing as cheap; there, nothing is remembered.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from sqlalchemy import Connection

from llmos.hub.database.connection import Database

T = TypeVar("T")
ROOM = 32 << 20  # bytes of answers that are kept, about
EACH = 2_000  # that a row or an entry takes, about
LARGEST = 1 << 20  # a larger answer is not kept


class Memory:
    """Answers of queries, by what was asked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watch: sqlite3.Connection | None = None
        if database.file is not None:
            # It never writes, so that every change is another connection's.
            self._watch = sqlite3.connect(database.file, check_same_thread=False)
            self._watch.isolation_level = None
        self._lock = threading.Lock()
        self._version = -1
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
        if self._watch is None:
            with self._database.read() as connection:
                return look(connection)
        with self._lock:
            version = self._now()
            if asked in self._held:
                known: T = self._held[asked]
                return known
        with self._database.read() as connection:
            found = look(connection)
        with self._lock:
            taken = size(found)
            if version == self._version and taken < LARGEST:
                if self._bytes + taken > ROOM:
                    self._forget()
                self._held[asked] = found
                self._bytes += taken
        return found

    def _now(self) -> int:
        """The file's version; what was remembered of an older one is dropped."""
        assert self._watch is not None
        (version,) = self._watch.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._forget()
            self._version = version
        return int(version)

    def _forget(self) -> None:
        self._held.clear()
        self._bytes = 0

    def close(self) -> None:
        """Let go of the file."""
        if self._watch is not None:
            self._watch.close()
