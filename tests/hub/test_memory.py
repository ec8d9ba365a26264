"""What is remembered is never older than the database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, delete, select, update

from llmos.hub.database.connection import Database
from llmos.hub.database.tables import meta, tokens

TRIES = 100  # a PostgreSQL server forgets for what is written to its other databases too


def _look(connection: Connection) -> str | None:
    return connection.execute(select(meta.c.value).where(meta.c.key == "word")).scalar()


def _elsewhere(world: Any, change: Any) -> None:
    """Change the database as another process would."""
    other = Database(world.hub.database.url)
    with other.write() as connection:
        connection.execute(change)
    other.close()


def _is_kept(read: Callable[[], object], looked: list[int]) -> bool:
    """Whether something read twice is looked for once, at least at times."""
    for _ in range(TRIES):
        read()
        before = len(looked)
        read()
        if len(looked) == before:
            return True
    return False


def test_an_answer_is_kept_until_anybody_changes_anything(world: Any) -> None:
    memory, looked = world.hub.memory, []

    def look(connection: Connection) -> str | None:
        looked.append(1)
        return _look(connection)

    assert memory.read("word", look) is None
    assert _is_kept(lambda: memory.read("word", look), looked)
    with world.hub.database.write() as connection:
        connection.execute(meta.insert(), {"key": "word", "value": "one"})
    assert memory.read("word", look) == "one"
    _elsewhere(world, update(meta).where(meta.c.key == "word").values(value="two"))
    assert memory.read("word", look) == "two"


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
    _elsewhere(world, delete(tokens))
    assert world.ask("GET", "/api/whoami-v2", "bob").status_code == 401


def test_what_is_being_written_is_neither_seen_nor_kept(world: Any) -> None:
    def look(connection: Connection) -> str | None:
        return _look(connection)

    for number in range(20):
        change = meta.insert() if number == 0 else meta.update().where(meta.c.key == "word")
        with world.hub.database.write() as connection:
            connection.execute(change.values(key="word", value=str(number)))
            seen = world.hub.memory.read("word", look)
            assert seen == (str(number - 1) if number else None)
        assert world.hub.memory.read("word", look) == str(number)


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
    assert _is_kept(lambda: memory.read(19, look, len), looked)  # the newest is there
    memory.read("large", lambda _: bytes(2 << 20), len)
    assert memory._bytes <= 4 << 20
