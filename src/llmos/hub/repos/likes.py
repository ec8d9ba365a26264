"""Who likes which repository."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, select, tuple_, update

from llmos.hub.accounts.rights import Caller, visible
from llmos.hub.database.connection import now
from llmos.hub.database.tables import accounts, likes, repos
from llmos.hub.hub import Hub
from llmos.hub.repos import trending
from llmos.hub.repos.listing import Cursor


def set_like(hub: Hub, account_id: int, repo: Row[Any], liked: bool) -> None:
    """Let an account like a repository, or no longer; a second time is nothing."""
    mine = (likes.c.account_id == account_id) & (likes.c.repo_id == repo.id)
    with hub.database.write() as connection:
        trend = connection.execute(  # of two at once the second waits here for the first
            select(repos.c.trending).where(repos.c.id == repo.id).with_for_update()
        ).scalar()
        since = connection.execute(select(likes.c.created_at).where(mine)).scalar()
        if trend is None or (since is not None) == liked:
            return
        at = now()
        if liked:
            row = {"account_id": account_id, "repo_id": repo.id, "created_at": at}
            connection.execute(likes.insert(), row)
        else:
            connection.execute(delete(likes).where(mine))
        worth = trending.LIKE if liked else -trending.LIKE
        connection.execute(
            update(repos)
            .where(repos.c.id == repo.id)
            .values(
                likes=repos.c.likes + (1 if liked else -1),
                trending=trending.after(trend, at if since is None else since, worth),
            )
        )


def likers(
    connection: Connection, repo_id: int, limit: int, after: Cursor | None
) -> tuple[list[Row[Any]], Cursor | None]:
    """Accounts that like a repository, the latest first, and the cursor for the next page."""
    query = (
        select(accounts.c.name, accounts.c.full_name, likes.c.created_at, accounts.c.id)
        .join(accounts, accounts.c.id == likes.c.account_id)
        .where(likes.c.repo_id == repo_id)
    )
    return _page(connection, query, accounts.c.id, limit, after)


def liked_by(
    connection: Connection, caller: Caller, account_id: int, limit: int, after: Cursor | None
) -> tuple[list[Row[Any]], Cursor | None]:
    """Repositories that an account likes, of those that the caller may see, the latest first."""
    query = (
        select(repos.c.full_name, repos.c.kind, likes.c.created_at, repos.c.id)
        .join(repos, repos.c.id == likes.c.repo_id)
        .where(likes.c.account_id == account_id, visible(caller, repos))
    )
    return _page(connection, query, repos.c.id, limit, after)


def _page(
    connection: Connection, query: Any, key: Any, limit: int, after: Cursor | None
) -> tuple[list[Row[Any]], Cursor | None]:
    if after is not None:
        query = query.where(tuple_(likes.c.created_at, key) < tuple_(after.value, after.id))
    query = query.order_by(likes.c.created_at.desc(), key.desc()).limit(limit + 1)
    rows = list(connection.execute(query).all())
    more = Cursor(rows[limit - 1][2], rows[limit - 1][3]) if len(rows) > limit > 0 else None
    return rows[:limit], more
