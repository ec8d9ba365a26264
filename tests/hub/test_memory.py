"""What is remembered is never older than the database."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

import pytest
from sqlalchemy import Connection, select

from llmos.hub.database.tables import meta


def _look(connection: Connection) -> str | None:
    return connection.execute(select(meta.c.value).where(meta.c.key == "word")).scalar()


def test_an_answer_is_kept_until_anybody_changes_anything(world: Any) -> None:
    memory, looked = world.hub.memory, []

    def look(connection: Connection) -> str | None:
        looked.append(1)
        return _look(connection)

    assert memory.read("word", look) is None
    assert memory.read("word", look) is None
    assert len(looked) == 1
    with world.hub.database.write() as connection:
        connection.execute(meta.insert(), {"key": "word", "value": "one"})
    assert memory.read("word", look) == "one"
    other = sqlite3.connect(world.hub.database.file)  # another process would do the same
    with other:
        other.execute("update meta set value = 'two' where key = 'word'")
    other.close()
    assert memory.read("word", look) == "two"
    assert len(looked) == 3


def test_readers_never_see_less_than_was_written_before_they_asked(world: Any) -> None:
    """Many read while one counts up: no answer is behind what was written before the question."""
    written, behind, stop = [0], [], threading.Event()

    def read() -> None:
        while not stop.is_set():
            before = written[0]
            found = int(world.hub.memory.read("word", _look) or 0)
            if found < before:
                behind.append((before, found))

    with world.hub.database.write() as connection:
        connection.execute(meta.insert(), {"key": "word", "value": "0"})
    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(1, 60):
        with world.hub.database.write() as connection:
            connection.execute(meta.update().where(meta.c.key == "word").values(value=str(number)))
        written[0] = number
    stop.set()
    for reader in readers:
        reader.join()
    assert not behind


def test_a_token_taken_back_opens_nothing_at_once(world: Any) -> None:
    assert world.ask("GET", "/api/whoami-v2", "bob").status_code == 200
    other = sqlite3.connect(world.hub.database.file)
    with other:
        other.execute("delete from tokens")
    other.close()
    assert world.ask("GET", "/api/whoami-v2", "bob").status_code == 401


def test_what_is_kept_has_a_limit(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = world.hub.memory
    monkeypatch.setattr("llmos.hub.database.memory.ROOM", 4 << 20)
    looked = []

    def look(connection: Connection) -> bytes:
        looked.append(1)
        return bytes(900_000)

    for number in range(20):
        memory.read(number, look, len)
    assert memory._bytes <= 4 << 20
    before = len(looked)
    memory.read(19, look, len)
    assert len(looked) == before  # the newest is there
    memory.read("large", lambda _: bytes(2 << 20), len)
    assert memory._bytes <= 4 << 20
