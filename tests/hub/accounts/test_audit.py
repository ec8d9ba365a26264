"""The audit log: no entry can be changed or taken out unseen."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from llmos.hub.accounts import audit
from llmos.hub.database.tables import audit as log


def test_the_log_hangs_together_and_shows_what_was_changed(desk: Any) -> None:
    with desk.hub.database.read() as connection:
        assert list(audit.broken_entries(connection)) == []
        last = connection.execute(select(func.max(log.c.number))).scalar_one()
    assert last > 5
    for change in (
        log.update().where(log.c.number == 3).values(target="else"),
        log.update().where(log.c.number == 3).values(detail={"scope": "admin"}),
        log.update().where(log.c.number == 3).values(at=1),
    ):
        with desk.hub.database.read() as connection:
            connection.execute(change)
            assert list(audit.broken_entries(connection)) == [3]
    with desk.hub.database.read() as connection:
        connection.execute(log.delete().where(log.c.number == 3))
        assert list(audit.broken_entries(connection)) == [4]
