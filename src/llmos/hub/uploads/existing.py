"""Which blobs a sender need not send: those that a repository holds, or that its sender could fetch
from another one. A sha256 alone proves nothing, or knowing it would open private data."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, select

from llmos.hub.accounts.rights import Caller, Right, right_on, visible
from llmos.hub.database.tables import blobs, repo_blobs, repos

AT_ONCE = 500  # values of one statement
MOST_HOLDERS = 50  # repositories that are asked for one blob


def held_here(connection: Connection, repo_id: int, wanted: Iterable[str]) -> dict[str, int]:
    """Those of the blobs `wanted` that a repository holds or was sent, with their bytes."""
    found: dict[str, int] = {}
    names = sorted(set(wanted))
    for start in range(0, len(names), AT_ONCE):
        rows = connection.execute(
            select(blobs.c.sha256, blobs.c.size)
            .join(repo_blobs, repo_blobs.c.sha256 == blobs.c.sha256)
            .where(
                repo_blobs.c.repo_id == repo_id,
                repo_blobs.c.sha256.in_(names[start : start + AT_ONCE]),
                blobs.c.state != "damaged",
            )
        )
        found |= {row.sha256: row.size for row in rows}
    return found


def held_elsewhere(connection: Connection, caller: Caller, wanted: Iterable[str]) -> dict[str, int]:
    """Those of the blobs `wanted`, with their bytes, that another repository's versions hold, if
    the caller may read its files."""
    found: dict[str, int] = {}
    names = sorted(set(wanted))
    for start in range(0, len(names), AT_ONCE):
        known = connection.execute(
            select(blobs.c.sha256, blobs.c.size).where(
                blobs.c.sha256.in_(names[start : start + AT_ONCE]), blobs.c.state == "good"
            )
        ).all()
        for sha256, size in known:
            holders = connection.execute(
                select(repos)
                .join(repo_blobs, repo_blobs.c.repo_id == repos.c.id)
                .where(repo_blobs.c.sha256 == sha256, repo_blobs.c.committed)
                .where(visible(caller, repos))
                .limit(MOST_HOLDERS)
            )
            if any(right_on(connection, caller, row) >= Right.CONTENT for row in holders.all()):
                found[sha256] = size
    return found
