"""The repository that a name means to a caller."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from llmos.hub.accounts.rights import Caller, Right, right_on
from llmos.hub.database.prepared import Prepared
from llmos.hub.database.tables import redirects, repos
from llmos.hub.errors import repo_not_found
from llmos.hub.hub import Hub

_BY_NAME = Prepared(
    select(repos).where(repos.c.kind == bindparam("kind"), repos.c.name_key == bindparam("key"))
)
_BY_OLD_NAME = Prepared(
    select(repos)
    .join(redirects, redirects.c.repo_id == repos.c.id)
    .where(redirects.c.kind == bindparam("kind"), redirects.c.name_key == bindparam("key"))
)


def find_repo(hub: Hub, caller: Caller, kind: str, name: str) -> tuple[Row[Any], Right]:
    """The repository of that name (any case of letters, or a name it once had) and what the caller
    may do with it, READ or more. Raises `HubError`, the same for missing and private ones."""
    who = (caller.id, caller.admin, caller.scope, caller.repos)  # the rest is in the database
    return hub.memory.read(
        ("repo", who, kind, name), lambda connection: repo_for(connection, caller, kind, name)
    )


def repo_for(
    connection: Connection, caller: Caller, kind: str, name: str
) -> tuple[Row[Any], Right]:
    """The same, on a connection that is open already."""
    asked = {"kind": kind, "key": name.lower()}
    row = _BY_NAME.first(connection, asked)
    if row is None:
        row = _BY_OLD_NAME.first(connection, asked)
    right = right_on(connection, caller, row) if row else Right.NONE
    if row is None or right < Right.READ:
        raise repo_not_found(caller.known)
    return row, right
