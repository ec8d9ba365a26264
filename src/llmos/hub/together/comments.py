"""Comments, and the other events of a discussion."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import Connection, Row, select, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller, Right
from llmos.hub.database.connection import now
from llmos.hub.database.tables import events
from llmos.hub.errors import HubError, forbidden
from llmos.hub.together.texts import LONGEST_COMMENT, checked_text

HIDDEN = "This comment has been hidden"
KEPT_EDITS = 20  # earlier versions of a comment


def add_event(
    connection: Connection,
    repo_id: int,
    number: int,
    author: str,
    kind: str,
    data: dict[str, Any],
) -> Row[Any]:
    """Write down that something happened in a discussion."""
    event_id = secrets.token_hex(12)
    row = {
        "event_id": event_id,
        "repo_id": repo_id,
        "number": number,
        "type": kind,
        "author": author,
        "data": data,
        "created_at": now(),
    }
    connection.execute(events.insert(), row)
    return event_row(connection, repo_id, number, event_id)


def event_row(connection: Connection, repo_id: int, number: int, event_id: str) -> Row[Any]:
    """An event of a discussion. Raises `HubError` 404."""
    row = connection.execute(
        select(events)
        .where(
            events.c.repo_id == repo_id,
            events.c.number == number,
            events.c.event_id == event_id,
        )
        .with_for_update()
    ).first()
    if row is None:
        raise HubError(404, f"There is no event {event_id[:40]} in this discussion")
    return row


def add_comment(
    connection: Connection, caller: Caller, repo: Row[Any], number: int, text: str
) -> Row[Any]:
    """A comment of the caller's; returns its event. Raises `HubError` 400 for the text."""
    checked = checked_text(text, "the comment", LONGEST_COMMENT)
    data = {"text": checked, "at": now(), "by": caller.name, "history": [], "hidden": False}
    return add_event(connection, repo.id, number, caller.name, "comment", data)


def edit(
    connection: Connection, caller: Caller, repo: Row[Any], number: int, event_id: str, text: str
) -> Row[Any]:
    """Let the author write a comment anew; the versions before are kept.

    Raises `HubError` 403, 404, 400.
    """
    event = _comment(connection, repo, number, event_id)
    if event.author != caller.name:
        raise forbidden("Only its author may edit a comment")
    if event.data["hidden"]:
        raise forbidden("A hidden comment cannot be edited")
    before = {key: event.data[key] for key in ("text", "at", "by")}
    data = {
        **event.data,
        "text": checked_text(text, "the comment", LONGEST_COMMENT),
        "at": now(),
        "by": caller.name,
        "history": [*event.data["history"], before][-KEPT_EDITS:],
    }
    return _keep(connection, event, data, caller, repo, "edit")


def hide(
    connection: Connection,
    caller: Caller,
    right: Right,
    repo: Row[Any],
    number: int,
    event_id: str,
) -> Row[Any]:
    """Take a comment's text away, for good: its author may, and who manages the repository.

    Raises `HubError` 403, 404.
    """
    event = _comment(connection, repo, number, event_id)
    if event.author != caller.name and right < Right.MANAGE:
        raise forbidden("Only its author and those who manage the repository may hide a comment")
    data = {"text": HIDDEN, "at": now(), "by": caller.name, "history": [], "hidden": True}
    return _keep(connection, event, data, caller, repo, "hide")


def _comment(connection: Connection, repo: Row[Any], number: int, event_id: str) -> Row[Any]:
    event = event_row(connection, repo.id, number, event_id)
    if event.type != "comment":
        raise HubError(404, f"Event {event_id} is no comment")
    return event


def _keep(
    connection: Connection,
    event: Row[Any],
    data: dict[str, Any],
    caller: Caller,
    repo: Row[Any],
    what: str,
) -> Row[Any]:
    connection.execute(update(events).where(events.c.id == event.id).values(data=data))
    target = f"{repo.kind}:{repo.full_name}#{event.number}"
    audit.record(connection, caller.name, f"comment.{what}", target, comment=event.event_id)
    return event_row(connection, repo.id, event.number, event.event_id)
