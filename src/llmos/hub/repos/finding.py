"""The repository that a name means to a caller."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from llmos.hub.accounts.rights import Caller, Right, right_on
from llmos.hub.database.tables import redirects, repos
from llmos.hub.errors import repo_not_found
from llmos.hub.hub import Hub


def find_repo(hub: Hub, caller: Caller, kind: str, name: str) -> tuple[Row[Any], Right]:
    """The repository of that name (any case of letters, or a name it once had) and what the caller
    may do with it, READ or more. Raises `HubError`, the same for missing and private ones."""
    key = name.lower()
    with hub.database.read() as connection:
        row = connection.execute(
            select(repos).where(repos.c.kind == kind, repos.c.name_key == key)
        ).first()
        if row is None:
            row = connection.execute(
                select(repos)
                .join(redirects, redirects.c.repo_id == repos.c.id)
                .where(redirects.c.kind == kind, redirects.c.name_key == key)
            ).first()
        right = right_on(connection, caller, row) if row else Right.NONE
    if row is None or right < Right.READ:
        raise repo_not_found(caller.known)
    return row, right
