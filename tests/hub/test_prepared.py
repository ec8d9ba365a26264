"""Prepared statements find, write and refuse what SQLAlchemy's own execution does."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, insert, null, select, update
from sqlalchemy.exc import IntegrityError
from tests.hub.upkeep.conftest import caller_of

from llmos.hub.database.prepared import Prepared
from llmos.hub.database.tables import accounts, blobs, repos, tokens
from llmos.hub.errors import HubError
from llmos.hub.repos import making

KEY = "ab" * 32
ROW = {"sha256": KEY, "size": 2**40, "created_at": 2**41, "facts": {"known": True, "ü": [1, None]}}


@pytest.fixture
def connection(world: Any) -> Any:
    making.make_repo(world.hub, caller_of(world.hub, "alice"), "model", "alice/m", private=True)
    with world.hub.database.write() as connection:
        yield connection


@pytest.mark.parametrize("table", [repos, accounts, tokens, blobs])
def test_rows_are_the_same(connection: Connection, table: Any) -> None:
    statement = select(table).order_by(*table.primary_key)
    same = connection.execute(statement).all()
    found = Prepared(statement).all(connection)
    assert found == same and found
    assert [row._mapping for row in found] == [row._mapping for row in same]
    assert [list(map(type, row)) for row in found] == [list(map(type, row)) for row in same]


def test_values_are_named_and_fixed_ones_stay(connection: Connection) -> None:
    one = Prepared(
        select(repos.c.full_name.label("called"))
        .where(repos.c.name_key == bindparam("key"), repos.c.private.is_(True))
        .limit(1)
    )
    row = one.first(connection, {"key": "alice/m"})
    assert row is not None and row.called == "alice/m"
    assert one.first(connection, {"key": "alice/n"}) is None


def test_an_insert_fills_in_what_the_table_says(connection: Connection) -> None:
    add = Prepared(insert(blobs))
    add.run(connection, ROW)
    add.run_all(connection, [{**ROW, "sha256": letter * 64} for letter in "cd"])
    connection.execute(insert(blobs), {**ROW, "sha256": "e" * 64})
    rows = [
        {**row._mapping, "sha256": ""}
        for row in connection.execute(select(blobs))
        if row.size > 9999
    ]
    assert len(rows) == 4 and all(row == rows[0] for row in rows)
    assert rows[0]["state"] == "good" and rows[0]["facts"] == ROW["facts"]


def test_what_an_insert_leaves_out_is_null(connection: Connection) -> None:
    add = Prepared(insert(blobs))
    row = {name: value for name, value in ROW.items() if name != "facts"}
    add.run(connection, ROW)
    add.run_all(connection, [{**row, "sha256": letter * 64} for letter in "cd"])
    without = select(blobs.c.sha256).where(blobs.c.facts.is_(null()))
    assert {"c" * 64, "d" * 64} <= set(connection.scalars(without)) and KEY not in set(
        connection.scalars(without)
    )


def test_an_update_tells_how_many_rows(connection: Connection) -> None:
    change = Prepared(update(repos).where(repos.c.name_key == bindparam("key")).values(likes=3))
    assert change.run(connection, {"key": "alice/m"}) == 1
    assert change.run(connection, {"key": "none"}) == 0
    assert connection.scalar(select(repos.c.likes)) == 3


def test_what_the_database_refuses_is_raised_as_sqlalchemy_does(world: Any) -> None:
    add = Prepared(insert(blobs))
    with pytest.raises(HubError) as caught, world.hub.database.write() as connection:
        add.run(connection, ROW)
        with pytest.raises(IntegrityError) as refused:
            add.run(connection, ROW)
        assert str(ROW["size"]) not in str(refused.value), "errors are logged: no values in them"
        raise refused.value
    assert caught.value.status == 409
    with world.hub.database.read() as connection:
        assert connection.execute(select(blobs).where(blobs.c.sha256 == KEY)).first() is None
