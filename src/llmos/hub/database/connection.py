"""Connections to the hub's database: SQLite in one file, or any other by its URL.

Reading takes a snapshot; writing is one transaction that either happens whole or not at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from llmos.hub.errors import HubError


def now() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


class Database:
    """The engine, and the two ways to use it: `read()` and `write()`."""

    def __init__(self, url: str, *, threads: int = 40) -> None:
        """`url` is SQLAlchemy's; `threads` how many connections are kept."""
        self.url = url
        self.sqlite = url.startswith("sqlite")
        self._writing = threading.RLock()  # SQLite has one writer: wait here, not in its busy loop
        options: dict[str, Any] = {"pool_size": threads, "max_overflow": threads}
        if self.sqlite:
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            options["connect_args"] = {"timeout": 30, "check_same_thread": False}
        else:
            options["pool_pre_ping"] = True  # a restarted server: the next request connects anew
        self.engine: Engine = sqlalchemy.create_engine(url, **options)
        if self.sqlite:
            event.listen(self.engine, "connect", _set_up_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with; nothing written on it is kept."""
        with _reported(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: kept when the block ends, undone when it raises."""
        if self.sqlite:
            with self._writing, _reported(), self.engine.connect() as connection:
                connection = connection.execution_options(llmos_write=True)
                with connection.begin():
                    yield connection
        else:
            with _reported(), self.engine.begin() as connection:
                yield connection

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says, not by sqlite3
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # a commit is on the disk before it is acknowledged
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA cache_size=-16000")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("llmos_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextmanager
def _reported() -> Iterator[None]:
    """A database that cannot be reached or is full becomes an answer, not a traceback."""
    try:
        yield
    except OperationalError as error:
        text = str(error.orig)
        if "disk is full" in text or "No space left" in text or "could not extend file" in text:
            raise HubError(507, "The hub's disk is full; nothing was changed") from error
        raise HubError(
            503, "The hub's database does not answer; try again", headers={"Retry-After": "2"}
        ) from error
