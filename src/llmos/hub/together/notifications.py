"""Notifications: what happened in discussions that somebody takes part in, is named in, or has to
look after, and access requests to one's repositories. One for each discussion."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, select, update

from llmos.hub.accounts.rights import Caller, Right, right_on, roles_of, visible
from llmos.hub.database.connection import now
from llmos.hub.database.tables import (
    accounts,
    discussions,
    events,
    memberships,
    notifications,
    repos,
)

MENTION = re.compile(r"(?<![\w.@/-])@([A-Za-z0-9][\w.-]{0,95})", re.ASCII)
MOST_MENTIONS = 20
MOST_PEOPLE = 200
REQUESTS = 0  # in place of a discussion's number: access requests


def caller_for(connection: Connection, account: Row[Any]) -> Caller:
    """A user as a caller with all rights of theirs, for what the hub does in their absence."""
    roles = roles_of(connection, account.id)
    return Caller(id=account.id, name=account.name, scope="write", roles=roles)


def notify_people(
    connection: Connection, caller: Caller, repo: Row[Any], number: int, text: str = ""
) -> None:
    """Note that something happened in a discussion, for all whom it concerns but the caller."""
    named = {name.rstrip(".-").lower() for name in MENTION.findall(text)[:MOST_MENTIONS]}
    took_part = connection.scalars(
        select(events.c.author)
        .where(events.c.repo_id == repo.id, events.c.number == number)
        .distinct()
        .limit(MOST_PEOPLE)
    )
    names = named | {name.lower() for name in took_part}
    people = connection.execute(select(accounts).where(accounts.c.name_key.in_(names))).all()
    keepers = keepers_of(connection, repo)
    for person in {row.id: row for row in [*people, *keepers]}.values():
        if person.id == caller.id or person.kind != "user":
            continue
        if right_on(connection, caller_for(connection, person), repo) >= Right.READ:
            reason = "mention" if person.name_key in named else "discussion"
            _note(connection, person.id, repo.id, number, reason)


def notify_keepers(connection: Connection, repo: Row[Any]) -> None:
    """Note that somebody asks for access, for those who manage the repository."""
    for person in keepers_of(connection, repo):
        _note(connection, person.id, repo.id, REQUESTS, "access")


def keepers_of(connection: Connection, repo: Row[Any]) -> Sequence[Row[Any]]:
    """The users who manage a repository: its owner, or the owning organisation's maintainers and
    admins (the first 200)."""
    if repo.owner_id is None:
        return []
    managers = select(memberships.c.user_id).where(
        memberships.c.org_id == repo.owner_id, memberships.c.role.in_(["maintainer", "admin"])
    )
    return connection.execute(
        select(accounts)
        .where(
            accounts.c.kind == "user",
            (accounts.c.id == repo.owner_id) | accounts.c.id.in_(managers),
        )
        .order_by(accounts.c.id)
        .limit(MOST_PEOPLE)
    ).all()


def _note(connection: Connection, account_id: int, repo_id: int, number: int, reason: str) -> None:
    same = (
        (notifications.c.account_id == account_id)
        & (notifications.c.repo_id == repo_id)
        & (notifications.c.number == number)
    )
    values = {"reason": reason, "unread": True, "updated_at": now()}
    changed = connection.execute(update(notifications).where(same).values(**values))
    if not changed.rowcount:
        row = {"account_id": account_id, "repo_id": repo_id, "number": number, **values}
        connection.execute(notifications.insert(), row)


def _theirs(caller: Caller) -> ColumnElement[bool]:
    seen = select(repos.c.id).where(visible(caller, repos))
    return (notifications.c.account_id == caller.id) & notifications.c.repo_id.in_(seen)


def count_unread(connection: Connection, caller: Caller) -> int:
    """How many the caller has not read."""
    unread = select(func.count()).select_from(notifications)
    count = connection.execute(unread.where(_theirs(caller), notifications.c.unread)).scalar_one()
    return int(count)


def is_unread(connection: Connection, caller: Caller, repo_id: int, number: int) -> bool:
    """Whether the caller has not read the notification of a discussion."""
    one = (notifications.c.repo_id == repo_id) & (notifications.c.number == number)
    mine = (notifications.c.account_id == caller.id) & one
    return bool(connection.execute(select(notifications.c.unread).where(mine)).scalar())


def list_notifications(
    connection: Connection, caller: Caller, *, unread: bool | None, start: int, limit: int
) -> tuple[int, list[Row[Any]]]:
    """How many there are and those of one page, the newest first, with the columns of the
    repository and the discussion (`title`, `status`, `pull_request`; None for access requests).
    Those of repositories that the caller may no longer see are left out."""
    where = _theirs(caller)
    if unread is not None:
        where &= notifications.c.unread.is_(unread)
    total = connection.execute(
        select(func.count()).select_from(notifications).where(where)
    ).scalar_one()
    rows = connection.execute(
        select(
            notifications,
            discussions.c.title,
            discussions.c.status,
            discussions.c.pull_request,
            discussions.c.author,
        )
        .outerjoin(
            discussions,
            (discussions.c.repo_id == notifications.c.repo_id)
            & (discussions.c.number == notifications.c.number),
        )
        .where(where)
        .order_by(notifications.c.updated_at.desc(), notifications.c.id.desc())
        .limit(limit)
        .offset(start)
    ).all()
    return total, list(rows)


def readable_repos(
    connection: Connection, caller: Caller, ids: Iterable[int]
) -> dict[int, Row[Any]]:
    """Those of these repositories that the caller may see, by id."""
    rows = connection.execute(select(repos).where(repos.c.id.in_(set(ids)))).all()
    return {row.id: row for row in rows if right_on(connection, caller, row) >= Right.READ}


def mark_read(
    connection: Connection, caller: Caller, marks: Sequence[tuple[int, int]] | None, *, read: bool
) -> int:
    """Mark notifications, named by repository id and number (None: all), as read or as unread
    again; returns how many."""
    where = notifications.c.account_id == caller.id
    if marks is None:
        changed = update(notifications).where(where).values(unread=not read)
        return connection.execute(changed).rowcount
    count = 0
    for repo_id, number in marks:
        one = (notifications.c.repo_id == repo_id) & (notifications.c.number == number)
        changed = update(notifications).where(where & one).values(unread=not read)
        count += connection.execute(changed).rowcount
    return count


def clear(connection: Connection, caller: Caller) -> None:
    """Delete all notifications that the caller has read."""
    connection.execute(
        delete(notifications).where(
            notifications.c.account_id == caller.id, notifications.c.unread.is_(False)
        )
    )
