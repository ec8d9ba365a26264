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
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as WaitedTooLong

from llmos.errors import UsageError
from llmos.hub.errors import HubError

FULL = ("disk is full", "No space left", "could not extend file")


def now() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


class Database:
    """The engine, and the two ways to use it: `read()` and `write()`."""

    def __init__(self, url: str, *, threads: int = 40, foreign_keys: bool = True) -> None:
        """`url` is SQLAlchemy's; `threads` how many connections are kept; without `foreign_keys`
        SQLite does not look after references (while tables are made anew)."""
        self.url = url
        self.sqlite = url.startswith("sqlite")
        self.file = Path(url.removeprefix("sqlite:///")) if self.sqlite else None
        self._writing = threading.RLock()  # SQLite has one writer: wait here, not in its busy loop
        options: dict[str, Any] = {"pool_size": threads, "max_overflow": threads}
        options["hide_parameters"] = True  # errors are logged: no text content, no secret
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            options["connect_args"] = {"timeout": 30, "check_same_thread": False}
        else:
            options["pool_pre_ping"] = True  # a restarted server: the next request connects anew
        self.engine: Engine = sqlalchemy.create_engine(url, **options)
        if self.sqlite:
            event.listen(self.engine, "connect", _set_up_sqlite)
            if not foreign_keys:
                event.listen(self.engine, "connect", _forget_references)
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

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection that sees the database as it is now, however long the block takes."""
        with _reported(), self.engine.connect() as connection:
            if not self.sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    def copy_to(self, file: Path) -> None:
        """Copy an SQLite database, as it is now, to a new file."""
        file.unlink(missing_ok=True)
        with _reported(), self.engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.execute("VACUUM INTO ?", [str(file)])

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says, not by sqlite3
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # a commit is on the disk before it is acknowledged
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA cache_size=-4000")  # 4 MB, for each of the connections
    cursor.close()


def _forget_references(connection: Any, _: object) -> None:
    connection.execute("PRAGMA foreign_keys=OFF")


def _begin_sqlite(connection: Connection) -> None:
    if connection.get_execution_options().get("llmos_write"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    raw = connection.connection.driver_connection
    assert raw is not None
    raw.execute("BEGIN")  # which takes no lock: nothing can fail that would have to be told


@contextmanager
def _reported() -> Iterator[None]:
    """A database that cannot be reached, is full or damaged becomes an answer, not a traceback."""
    try:
        yield
    except (OperationalError, InterfaceError, WaitedTooLong) as error:
        if any(words in str(error) for words in FULL):
            raise HubError(507, "The hub's disk is full; nothing was changed") from error
        raise HubError(
            503, "The hub's database does not answer; try again", headers={"Retry-After": "2"}
        ) from error
    except IntegrityError as error:  # both looked, neither was there, both wrote
        raise HubError(
            409, "Somebody did the same, or took away what this needs, just now: look again"
        ) from error
    except (DataError, OverflowError) as error:
        raise HubError(422, "A value is too large, or of letters that cannot be kept") from error
    except DatabaseError as error:
        if "malformed" in str(error) or "not a database" in str(error):
            raise HubError(503, "The hub's database is damaged: its admin restores it") from error
        raise


@contextmanager
def reachable(url: str) -> Iterator[None]:
    """Turn whatever keeps a database from being used into one line that names it."""
    name = make_url(url).render_as_string(hide_password=True)
    try:
        yield
    except (SQLAlchemyError, HubError, OSError) as error:
        cause = error.__cause__ if isinstance(error, HubError) and error.__cause__ else error
        text = " ".join(str(getattr(cause, "orig", None) or cause).split())
        raise UsageError(f"cannot use the database {name}: {text[:300]}") from error
