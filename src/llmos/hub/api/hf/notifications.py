"""/api/notifications: what happened where the caller takes part."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import Row
from starlette.responses import Response

from llmos.hub.api.asking import Ask, answer, done, iso
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import bad_request
from llmos.hub.together import notifications
from llmos.hub.together.webhooks import object_id

PAGE = 20
FILTERS = {"": None, "all": None, "unread": True, "read": False}


class Marks(BaseModel):
    """Discussions whose notifications are read, by their ids; none: see applyToAll."""

    discussion_ids: list[str] = Field([], alias="discussionIds", max_length=500)
    read: bool = True


def list_all(ask: Ask) -> Response:
    """Twenty a page (p=0, 1, ...), the newest first; readStatus: all, unread or read."""
    state = ask.query("readStatus")
    if state not in FILTERS:
        raise bad_request("readStatus: choose all, unread or read")
    page = ask.query_number("p", 0, 100_000)
    with ask.hub.database.read() as connection:
        total, rows = notifications.list_notifications(
            connection, ask.caller, unread=FILTERS[state], start=page * PAGE, limit=PAGE
        )
        unread, _ = notifications.list_notifications(
            connection, ask.caller, unread=True, start=0, limit=1
        )
        every, _ = notifications.list_notifications(
            connection, ask.caller, unread=None, start=0, limit=1
        )
        repos = notifications.readable_repos(connection, ask.caller, (r.repo_id for r in rows))
    shown = [_shown(row, repos[row.repo_id]) for row in rows if row.repo_id in repos]
    return answer(
        {
            "notifications": shown,
            "count": {"view": total, "unread": unread, "all": every},
            "start": page * PAGE,
        }
    )


def _shown(row: Row[Any], repo: Row[Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": "repo",
        "reason": row.reason,
        "updatedAt": iso(row.updated_at),
        "read": not row.unread,
        "repo": {"name": repo.full_name, "type": repo.kind},
    }
    if row.title is not None:
        shown["discussion"] = {
            "id": object_id(row.repo_id, row.number),
            "num": row.number,
            "title": row.title,
            "status": row.status,
            "isPullRequest": row.pull_request,
            "author": {"name": row.author},
        }
    return shown


def mark(ask: Ask) -> Response:
    """Mark notifications as read, or as unread again: those named, or with applyToAll all."""
    asked = ask.data
    assert isinstance(asked, Marks)
    marks = None if ask.query_true("applyToAll") else [_pair(one) for one in asked.discussion_ids]
    with ask.hub.database.write() as connection:
        notifications.mark_read(connection, ask.caller, marks, read=asked.read)
    return done()


def _pair(text: str) -> tuple[int, int]:
    try:
        number = int(text, 16) if len(text) == 24 else -1
    except ValueError:
        number = -1
    if number < 0:
        raise bad_request(f"discussionIds: {text[:40]} is no id")
    return number >> 48, number & (1 << 48) - 1


def clear(ask: Ask) -> Response:
    """Delete those that have been read."""
    with ask.hub.database.write() as connection:
        notifications.clear(connection, ask.caller)
    return done()


ALL = "/api/notifications"
ROUTES = [
    Route("GET", ALL, Need.SIGNED_IN, list_all),
    Route("DELETE", ALL, Need.WRITING, clear),
    Route("POST", f"{ALL}/mark-as-read", Need.WRITING, mark, Marks),
]
