"""A repository to work on together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from llmos.hub.accounts.rights import Caller, account_row, roles_of
from llmos.hub.git import versions
from llmos.hub.repos import changes, making
from llmos.hub.repos.content import keep_bytes


class Shop:
    """Repositories made and committed to, by name of the user who does it."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.hub = world.hub

    def caller(self, name: str) -> Caller:
        """The user with all their rights."""
        with self.hub.database.read() as connection:
            row = account_row(connection, name)
            roles = roles_of(connection, row.id)
            return Caller(id=row.id, name=name, scope="write", roles=roles)

    def repo(self, name: str = "acme/thing", user: str = "alice", **options: Any) -> Any:
        """A new model repository."""
        return making.make_repo(self.hub, self.caller(user), "model", name, **options)

    def commit(
        self,
        repo: Any,
        files: Mapping[str, bytes | None],
        revision: str = "main",
        user: str = "alice",
        title: str = "change",
    ) -> str:
        """Commit files; None removes one."""
        added = {p: keep_bytes(self.hub, c) for p, c in files.items() if c is not None}
        removed = [path for path, content in files.items() if content is None]
        made = changes.Changes(title, added=added, removed=removed)
        return changes.commit(self.hub, self.caller(user), repo, revision, made)

    def head(self, repo: Any, revision: str = "main") -> Any:
        """The newest commit of a branch."""
        with self.hub.database.read() as connection:
            return versions.resolve(connection, repo.id, revision)


@pytest.fixture
def shop(world: Any) -> Callable[..., Any]:
    """Makes repositories and commits."""
    return Shop(world)
