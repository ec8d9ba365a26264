"""What may come into a repository at all: how its data are shared, how much its owner may store."""

from __future__ import annotations

import posixpath
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from llmos.hub.database.prepared import Prepared
from llmos.hub.database.tables import accounts, repos
from llmos.hub.errors import forbidden
from llmos.hub.hub import Hub

DESCRIPTIONS = (
    "*.md",
    "*.json",
    "*.yaml",
    "*.yml",
    "*.toml",
    "license*",
    ".gitattributes",
    ".gitignore",
)
_QUOTA = Prepared(select(accounts.c.quota).where(accounts.c.id == bindparam("owner")))
LARGEST_DESCRIPTION = 1 << 20  # bytes


def check_sharing(repo: Row[Any], path: str, size: int, *, large: bool = False) -> None:
    """Raise `HubError` 403 when this file may not leave its owner's house: a repository whose
    data stay at home takes small files that describe them, and nothing else. `large`: as LFS."""
    if repo.sharing == "open":
        return
    name = posixpath.basename(path).lower()
    small = size <= LARGEST_DESCRIPTION and not large
    if small and any(fnmatchcase(name, pattern) for pattern in DESCRIPTIONS):
        return
    raise forbidden(
        f"{path[:200]} was not taken: {repo.full_name} is shared as {repo.sharing}, so its data "
        "stay at home. It takes descriptions only (.md, .json, .yaml, .toml, LICENSE, "
        ".gitattributes, .gitignore, each up to 1 MiB, not as LFS)"
    )


def quota_of(hub: Hub, connection: Connection, owner_id: int) -> int:
    """How many bytes an account may store; 0: any number."""
    row = _QUOTA.first(connection, {"owner": owner_id})
    return hub.settings.quota if row is None or row.quota is None else int(row.quota)


def check_quota(hub: Hub, connection: Connection, owner_id: int | None, more: int) -> None:
    """Raise `HubError` 403 when an account would store more than it may with `more` bytes."""
    limit = 0 if owner_id is None else quota_of(hub, connection, owner_id)
    if not limit:
        return
    used = connection.execute(
        select(func.coalesce(func.sum(repos.c.used_bytes), 0)).where(repos.c.owner_id == owner_id)
    ).scalar_one()
    if used + more > limit:
        raise forbidden(
            "Storage quota exceeded: {used:,} of {limit:,} bytes are used and this needs {more:,} "
            "more. Delete files for good, or ask the hub's admin",
            used=int(used),
            limit=limit,
            more=more,
        )
