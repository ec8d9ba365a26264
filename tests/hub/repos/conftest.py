"""A caller, and commits without HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from llmos.hub.accounts.rights import Caller, account_row, roles_of
from llmos.hub.database.tables import repos
from llmos.hub.repos import changes
from llmos.hub.repos.content import keep_bytes


@pytest.fixture
def caller(world: Any) -> Callable[[str], Caller]:
    """A user as a caller whose token may write."""

    def made(name: str) -> Caller:
        with world.hub.database.read() as connection:
            row = account_row(connection, name)
            assert row is not None
            roles = roles_of(connection, row.id)
        return Caller(id=row.id, name=name, admin=row.admin, scope="write", roles=roles)

    return made


@pytest.fixture
def commit(world: Any, caller: Any) -> Callable[..., Any]:
    """commit(repo, {path: bytes}) on main; returns the repository's row afterwards."""

    def made(repo: Any, files: dict[str, bytes], by: str = "alice") -> Any:
        added = {path: keep_bytes(world.hub, data) for path, data in files.items()}
        made = changes.Changes("change", added=added)
        changes.commit(world.hub, caller(by), repo, "main", made)
        with world.hub.database.read() as connection:
            return connection.execute(select(repos).where(repos.c.id == repo.id)).one()

    return made
