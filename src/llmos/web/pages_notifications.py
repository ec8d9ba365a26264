"""One's notifications: what happened in discussions and with requests for access."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row
from starlette.responses import Response

from llmos.hub.api.asking import Ask
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import bad_request
from llmos.hub.together import notifications
from llmos.web.forms import field, ticked
from llmos.web.rendering import go_to, page, repo_path, viewer_of

PAGE = 20


def listed(ask: Ask) -> Response:
    """Twenty a page, the newest first: those not read, or all."""
    every = ask.query("show") == "all"
    at = ask.query_number("p", 0, 100_000)
    with ask.hub.database.read() as connection:
        total, rows = notifications.list_notifications(
            connection, ask.caller, unread=None if every else True, start=at * PAGE, limit=PAGE
        )
        unread = notifications.count_unread(connection, ask.caller)
        repos = notifications.readable_repos(connection, ask.caller, (r.repo_id for r in rows))
    viewer = viewer_of(ask.hub, ask.request, ask.caller)
    return page(
        ask,
        "notifications.html",
        rows=[(row, repos[row.repo_id], _address(row, repos[row.repo_id])) for row in rows
              if row.repo_id in repos],
        every=every,
        unread_count=unread,
        back=viewer.address(p=at - 1 or None) if at else "",
        forward=viewer.address(p=at + 1) if (at + 1) * PAGE < total else "",
    )  # fmt: skip


def _address(row: Row[Any], repo: Row[Any]) -> str:
    below = ("access",) if row.number == notifications.REQUESTS else ("discussions", row.number)
    return repo_path(repo.kind, repo.full_name, *map(str, below))


def mark(ask: Ask) -> Response:
    """Mark one notification (REPOSITORY-NUMBER, both numbers), or all, as read or unread again."""
    which = field(ask, "which")
    marks = None
    if which != "all":
        repo, _, number = which.partition("-")
        if not all(one.isdecimal() and one.isascii() and len(one) < 18 for one in (repo, number)):
            raise bad_request(f"which={which[:40]}: write all, or REPOSITORY-NUMBER")
        marks = [(int(repo), int(number))]
    with ask.hub.database.write() as connection:
        notifications.mark_read(connection, ask.caller, marks, read=not ticked(ask, "unread"))
    return _back(ask)


def clear(ask: Ask) -> Response:
    """Delete those that have been read."""
    with ask.hub.database.write() as connection:
        notifications.clear(connection, ask.caller)
    return _back(ask)


def _back(ask: Ask) -> Response:
    return go_to("/notifications" + ("?show=all" if ticked(ask, "every") else ""))


ROUTES = [
    Route("GET", "/notifications", Need.SIGNED_IN, listed, page=True),
    Route("POST", "/notifications/read", Need.WRITING, mark, page=True),
    Route("POST", "/notifications/clear", Need.WRITING, clear, page=True),
]
