"""`llmos hub stats`: how much there is, and in what state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, text

from llmos.hub.database import migrate
from llmos.hub.database.tables import (
    accounts,
    audit,
    blobs,
    commits,
    discussions,
    repo_blobs,
    repos,
    tokens,
    trees,
    xorbs,
)
from llmos.hub.hub import Hub


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts of a hub; sizes in bytes, times in milliseconds since 1970."""

    accounts: dict[str, int]  # by kind
    repositories: dict[str, int]  # by kind
    private: int
    commits: int
    discussions: int
    tokens: int
    blobs: dict[str, int]  # by state
    blob_bytes: int
    file_bytes: int  # the same, counted for each repository that holds a blob
    largest: int
    never_checked: int
    oldest_check: int | None
    xorbs: int
    xorb_bytes: int
    tree_bytes: int
    database_bytes: int
    audit_entries: int
    audit_head: str
    revision: str


def statistics(hub: Hub) -> Statistics:
    """Count."""
    with hub.database.snapshot() as connection:

        def one(query: Any) -> Any:
            return connection.execute(query).scalar()

        def number(table: Any, *where: Any) -> int:
            return int(one(select(func.count()).select_from(table).where(*where)) or 0)

        def total(column: Any) -> int:
            return int(one(select(func.coalesce(func.sum(column), 0))))

        def groups(column: Any) -> dict[str, int]:
            rows = connection.execute(select(column, func.count()).group_by(column))
            return {str(key): int(count) for key, count in sorted(tuple(row) for row in rows)}

        held = select(func.coalesce(func.sum(blobs.c.size), 0)).join(
            repo_blobs, repo_blobs.c.sha256 == blobs.c.sha256
        )
        size = (
            text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            if hub.database.sqlite
            else text("SELECT pg_database_size(current_database())")
        )
        last = connection.execute(select(audit).order_by(audit.c.number.desc()).limit(1)).first()
        return Statistics(
            accounts=groups(accounts.c.kind),
            repositories=groups(repos.c.kind),
            private=number(repos, repos.c.private),
            commits=number(commits),
            discussions=number(discussions),
            tokens=number(tokens),
            blobs=groups(blobs.c.state),
            blob_bytes=total(blobs.c.size),
            file_bytes=int(one(held)),
            largest=int(one(select(func.coalesce(func.max(blobs.c.size), 0)))),
            never_checked=number(blobs, blobs.c.checked_at.is_(None)),
            oldest_check=one(select(func.min(blobs.c.checked_at))),
            xorbs=number(xorbs),
            xorb_bytes=total(xorbs.c.size),
            tree_bytes=total(func.length(trees.c.data)),
            database_bytes=int(one(size)),
            audit_entries=last.number if last else 0,
            audit_head=last.hash if last else "",
            revision=migrate.current(connection),
        )
