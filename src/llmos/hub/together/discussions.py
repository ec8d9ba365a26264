"""Discussions: opened, commented on, renamed, closed.

A pull request is a discussion with a branch of its own: see pull_requests.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller, Right
from llmos.hub.database.connection import now
from llmos.hub.database.tables import discussions, events, notifications, refs, repos
from llmos.hub.errors import HubError, bad_request, forbidden
from llmos.hub.together import comments
from llmos.hub.together.notifications import notify_people
from llmos.hub.together.texts import checked_title
from llmos.hub.together.webhooks import tell_discussion

PAGE = 10
OPEN = ("open", "draft")


def open_discussion(
    connection: Connection,
    caller: Caller,
    repo: Row[Any],
    title: str,
    text: str,
    *,
    base: str | None = None,
    status: str = "open",
) -> int:
    """A new discussion; returns its number in the repository. `base` makes it a pull request for
    that reference. Raises `HubError` 403 where discussions are switched off, 400 for texts."""
    off, number = connection.execute(
        update(repos)
        .where(repos.c.id == repo.id)
        .values(last_discussion=repos.c.last_discussion + 1)
        .returning(repos.c.discussions_off, repos.c.last_discussion)
    ).one()
    if off:
        raise forbidden(f"Discussions are switched off for {repo.full_name}")
    row = {
        "repo_id": repo.id,
        "number": number,
        "title": checked_title(title),
        "status": status,
        "author": caller.name,
        "pull_request": base is not None,
        "base": base,
        "created_at": now(),
    }
    connection.execute(discussions.insert(), row)
    made = discussion_row(connection, repo.id, number)
    first = comments.add_comment(connection, caller, repo, number, text)
    notify_people(connection, caller, repo, number, text)
    tell_discussion(connection, repo, made, "create")
    tell_discussion(connection, repo, made, "create", first)
    kind = "discussion.open" if base is None else "pull-request.open"
    audit.record(connection, caller.name, kind, target_of(repo, number))
    return int(number)


def target_of(repo: Row[Any], number: int) -> str:
    """How the audit log names a discussion."""
    return f"{repo.kind}:{repo.full_name}#{number}"


def discussion_row(
    connection: Connection, repo_id: int, number: int, *, lock: bool = False
) -> Row[Any]:
    """The discussion of that number; with `lock`, nobody else changes it before this transaction
    has ended. Raises `HubError` 404."""
    wanted = select(discussions).where(
        discussions.c.repo_id == repo_id, discussions.c.number == number
    )
    row = connection.execute(wanted.with_for_update() if lock else wanted).first()
    if row is None:
        raise HubError(404, f"There is no discussion {number} here")
    return row


def list_discussions(
    connection: Connection,
    repo_id: int,
    *,
    author: str = "",
    kind: str = "",
    status: str = "",
    page: int = 0,
) -> tuple[int, Sequence[Row[Any]]]:
    """How many there are and the ten of `page`: pinned ones first, then the newest. `kind` is
    discussion or pull_request, `status` open or closed; "" and all: both."""
    where = discussions.c.repo_id == repo_id
    if author:
        where &= discussions.c.author == author
    if kind and kind != "all":
        where &= discussions.c.pull_request.is_(kind == "pull_request")
    if status and status != "all":
        open_ones = discussions.c.status.in_(OPEN)
        where &= open_ones if status == "open" else ~open_ones
    count = connection.execute(select(func.count()).select_from(discussions).where(where)).scalar()
    rows = connection.execute(
        select(discussions)
        .where(where)
        .order_by(discussions.c.pinned.desc(), discussions.c.number.desc())
        .limit(PAGE)
        .offset(page * PAGE)
    ).all()
    return int(count or 0), rows


def counts_of_comments(
    connection: Connection, repo_id: int, numbers: Sequence[int]
) -> dict[int, int]:
    """How many comments each of these discussions has."""
    rows = connection.execute(
        select(events.c.number, func.count())
        .where(
            events.c.repo_id == repo_id, events.c.number.in_(numbers), events.c.type == "comment"
        )
        .group_by(events.c.number)
    )
    return {number: count for number, count in rows}


def events_of(connection: Connection, repo_id: int, number: int) -> Sequence[Row[Any]]:
    """What happened in a discussion, in order."""
    return connection.execute(
        select(events)
        .where(events.c.repo_id == repo_id, events.c.number == number)
        .order_by(events.c.id)
    ).all()


def check_steers(caller: Caller, right: Right, discussion: Row[Any]) -> None:
    """Raise `HubError` 403 unless the caller opened the discussion or manages the repository."""
    if right < Right.MANAGE and discussion.author != caller.name:
        raise forbidden("Only its author and those who manage the repository may do that")


def comment(
    connection: Connection, caller: Caller, repo: Row[Any], number: int, text: str
) -> Row[Any]:
    """Add a comment and tell those whom it concerns; returns its event."""
    discussion = discussion_row(connection, repo.id, number, lock=True)
    event = comments.add_comment(connection, caller, repo, number, text)
    notify_people(connection, caller, repo, number, text)
    tell_discussion(connection, repo, discussion, "create", event)
    audit.record(connection, caller.name, "discussion.comment", target_of(repo, number))
    return event


def rename(
    connection: Connection, caller: Caller, right: Right, repo: Row[Any], number: int, title: str
) -> Row[Any]:
    """Give a discussion another title; returns the event. Raises `HubError` 403, 404, 400."""
    discussion = discussion_row(connection, repo.id, number, lock=True)
    check_steers(caller, right, discussion)
    new = checked_title(title)
    change(connection, discussion, title=new)
    told = {"from": discussion.title, "to": new}
    event = comments.add_event(connection, repo.id, number, caller.name, "title-change", told)
    tell_discussion(connection, repo, discussion_row(connection, repo.id, number), "update")
    audit.record(connection, caller.name, "discussion.title", target_of(repo, number))
    return event


def set_status(
    connection: Connection,
    caller: Caller,
    right: Right,
    repo: Row[Any],
    number: int,
    status: str,
    text: str = "",
) -> Row[Any]:
    """Open or close a discussion, with a comment if `text` is given; returns the event. A draft
    becomes a pull request that is open. Raises `HubError` 403, 404, 400."""
    if status not in ("open", "closed"):
        raise bad_request(f"status {status[:40]}: choose open or closed")
    discussion = discussion_row(connection, repo.id, number, lock=True)
    check_steers(caller, right, discussion)
    if discussion.status == "merged":
        raise bad_request("This pull request has been merged: its status does not change any more")
    if discussion.status == status:
        raise bad_request(f"This discussion is {status} already")
    change(connection, discussion, status=status)
    told = {"status": status}
    event = comments.add_event(connection, repo.id, number, caller.name, "status-change", told)
    if text:
        comments.add_comment(connection, caller, repo, number, text)
    notify_people(connection, caller, repo, number, text)
    tell_discussion(connection, repo, discussion_row(connection, repo.id, number), "update")
    audit.record(
        connection, caller.name, "discussion.status", target_of(repo, number), status=status
    )
    return event


def pin(connection: Connection, caller: Caller, repo: Row[Any], number: int, pinned: bool) -> None:
    """Show a discussion before all others, or no more. Raises `HubError` 404."""
    discussion = discussion_row(connection, repo.id, number, lock=True)
    change(connection, discussion, pinned=pinned)
    told = {"pinned": pinned}
    comments.add_event(connection, repo.id, number, caller.name, "pinning-change", told)
    audit.record(connection, caller.name, "discussion.pin", target_of(repo, number), pinned=pinned)


def remove(connection: Connection, caller: Caller, repo: Row[Any], number: int) -> None:
    """Delete a discussion with all its comments, and a pull request's branch. Its number is not
    given out again. Raises `HubError` 404."""
    discussion = discussion_row(connection, repo.id, number, lock=True)
    tell_discussion(connection, repo, discussion, "delete")
    for table in (events, discussions, notifications):
        here = (table.c.repo_id == repo.id) & (table.c.number == number)
        connection.execute(delete(table).where(here))
    name = f"refs/pr/{number}"
    connection.execute(delete(refs).where(refs.c.repo_id == repo.id, refs.c.name == name))
    audit.record(connection, caller.name, "discussion.delete", target_of(repo, number))


def change(connection: Connection, discussion: Row[Any], **values: Any) -> None:
    """Set columns of a discussion."""
    connection.execute(
        update(discussions)
        .where(
            discussions.c.repo_id == discussion.repo_id, discussions.c.number == discussion.number
        )
        .values(**values)
    )
