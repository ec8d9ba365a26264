"""A repository with some history, and what it takes to harm it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from llmos.hub.accounts.rights import Caller, account_row, roles_of
from llmos.hub.database.tables import repos
from llmos.hub.hub import Hub
from llmos.hub.repos import changes, making
from llmos.hub.repos.content import keep_bytes


def caller_of(hub: Hub, name: str) -> Caller:
    """The user of that name."""
    with hub.database.read() as connection:
        row = account_row(connection, name)
        assert row is not None
        return Caller(id=row.id, name=row.name, scope="write", roles=roles_of(connection, row.id))


def commit(hub: Hub, user: str, name: str, files: dict[str, bytes], **more: Any) -> str:
    """Commit files to main of a model, which is made when it is not there; the commit's id."""
    caller = caller_of(hub, user)
    with hub.database.read() as connection:
        repo = connection.execute(
            select(repos).where(repos.c.kind == "model", repos.c.name_key == name.lower())
        ).first()
    if repo is None:
        repo = making.make_repo(hub, caller, "model", name)
    added = {path: keep_bytes(hub, content) for path, content in files.items()}
    made = changes.Changes("a change", added=added, **more)
    return changes.commit(hub, caller, repo, "main", made)


def blob_path(hub: Hub, sha256: str) -> Path:
    """The file of a blob."""
    path = hub.blobs.path(sha256)
    assert path is not None
    return path


@pytest.fixture
def committed(world: Any) -> Callable[..., str]:
    """`committed(name, files)` commits as alice."""

    def run(name: str, files: dict[str, bytes], **more: Any) -> str:
        return commit(world.hub, "alice", name, files, **more)

    return run
