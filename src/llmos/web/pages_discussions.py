"""Discussions and pull requests: listed, read, written in, merged.

Whoever may propose may open and comment; titles, status and comments are changed by their authors
and by those who manage the repository, which the functions of together/ check.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from starlette.responses import Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api.accounts import number
from llmos.hub.api.asking import Ask
from llmos.hub.api.routing import Route
from llmos.hub.errors import HubError
from llmos.hub.git import trees, versions
from llmos.hub.together import discussions, merging
from llmos.hub.together.pull_requests import open_pull_request
from llmos.web.forms import field
from llmos.web.markdown import card_html
from llmos.web.pages_history import MOST_FILES, file_changes
from llmos.web.rendering import go_to, page, repo_path, viewer_of
from llmos.web.repo_views import seen, shell

KINDS = ("all", "discussion", "pull_request")


def listed(ask: Ask) -> Response:
    """Ten a page, open ones unless asked otherwise."""
    status = "closed" if ask.query("status") == "closed" else "open"
    kind = ask.query("type") if ask.query("type") in KINDS else "all"
    at = ask.query_number("p", 0, 100_000)
    with ask.hub.database.read() as connection:
        shown = shell(ask, connection, "discussions")
        count, rows = discussions.list_discussions(
            connection, ask.repo.id, kind=kind, status=status, page=at
        )
        numbers = [row.number for row in rows]
        written = discussions.counts_of_comments(connection, ask.repo.id, numbers)
    viewer = viewer_of(ask.hub, ask.request, ask.caller)
    more = (at + 1) * discussions.PAGE < count
    return page(
        ask,
        "discussions.html",
        **shown,
        rows=rows,
        written=written,
        count=count,
        status=status,
        kind=kind,
        back=viewer.address(p=at - 1) if at else "",
        forward=viewer.address(p=at + 1) if more else "",
    )


def one(ask: Ask) -> Response:
    """A discussion from its beginning; of a pull request, what it changes."""
    seen(ask, number(ask, "number"))
    with ask.hub.database.read() as connection:
        shown = shell(ask, connection, "discussions")
        row = discussions.discussion_row(connection, ask.repo.id, number(ask, "number"))
        events = discussions.events_of(connection, ask.repo.id, row.number)
        proposal = _proposal(ask, connection, row)
    changes = proposal.pop("changes")
    mine = ask.caller.known and row.author == ask.caller.name
    return page(
        ask,
        "discussion.html",
        **shown,
        **proposal,
        row=row,
        events=[(event, _html(event)) for event in events],
        files=file_changes(ask, changes[:MOST_FILES]),
        left_out=max(0, len(changes) - MOST_FILES),
        may_steer=shown["may_propose"] and (mine or shown["may_manage"]),
    )


def _html(event: Any) -> Any:
    return card_html(event.data["text"]) if event.type == "comment" else None


def _proposal(ask: Ask, connection: Connection, row: Any) -> dict[str, Any]:
    """What a pull request changes and whether it can be merged; nothing for a discussion."""
    if not row.pull_request or ask.right < Right.CONTENT:
        return {"changes": [], "conflicts": [], "gone": False}
    try:
        sides = merging.sides_of(connection, row)
    except HubError:  # its branch, or the one it is for, was deleted
        return {"changes": [], "conflicts": [], "gone": True}
    before = sides.base.tree if sides.base else None
    changes = list(trees.differences(connection, before, sides.theirs.tree))
    conflicts = [] if row.status == "merged" else sides.conflicts
    return {"changes": changes, "conflicts": conflicts, "gone": False}


def new(ask: Ask) -> Response:
    """The form for a new discussion."""
    with ask.hub.database.read() as connection:
        shown = shell(ask, connection, "discussions")
    return page(ask, "discussion_new.html", **shown)


def create(ask: Ask) -> Response:
    """Open a discussion, or a pull request from the head of main, to commit to."""
    title, text = field(ask, "title"), field(ask, "text")
    with ask.hub.database.write() as connection:
        if field(ask, "kind") == "pull_request":
            which = open_pull_request(
                connection,
                ask.caller,
                ask.repo,
                title=title,
                description=text,
                head=versions.resolve(connection, ask.repo.id, versions.MAIN).oid,
                status="draft",
            )
        else:
            which = discussions.open_discussion(
                connection, ask.caller, ask.repo, title, text.strip() or title
            )
    return go_to(_address(ask, which), "opened")


def _address(ask: Ask, number: int) -> str:
    return repo_path(ask.repo.kind, ask.repo.full_name, "discussions", str(number))


def comment(ask: Ask) -> Response:
    """Add a comment."""
    which = number(ask, "number")
    with ask.hub.database.write() as connection:
        discussions.comment(connection, ask.caller, ask.repo, which, field(ask, "text"))
    return go_to(_address(ask, which) + "#answer", "commented")


def status(ask: Ask) -> Response:
    """Open or close; its author may, and who manages the repository, which is checked within."""
    which = number(ask, "number")
    with ask.hub.database.write() as connection:
        discussions.set_status(
            connection, ask.caller, ask.right, ask.repo, which, field(ask, "status")
        )
    return go_to(_address(ask, which), "saved")


def rename(ask: Ask) -> Response:
    """Another title; its author may, and who manages the repository, which is checked within."""
    which = number(ask, "number")
    with ask.hub.database.write() as connection:
        discussions.rename(connection, ask.caller, ask.right, ask.repo, which, field(ask, "title"))
    return go_to(_address(ask, which), "saved")


def merge(ask: Ask) -> Response:
    """Merge a pull request."""
    which = number(ask, "number")
    merging.merge(ask.hub, ask.caller, ask.repo, which)
    return go_to(_address(ask, which), "merged")


ALL = "/{prefix}/{repo}/discussions"
ONE = f"{ALL}/{{number}}"
ROUTES = [
    Route("GET", ALL, Right.READ, listed, page=True),
    Route("GET", f"{ALL}/new", Right.PROPOSE, new, page=True),
    Route("POST", ALL, Right.PROPOSE, create, page=True),
    Route("GET", ONE, Right.READ, one, page=True),
    Route("POST", f"{ONE}/comment", Right.PROPOSE, comment, page=True),
    Route("POST", f"{ONE}/status", Right.PROPOSE, status, page=True),
    Route("POST", f"{ONE}/title", Right.PROPOSE, rename, page=True),
    Route("POST", f"{ONE}/merge", Right.MANAGE, merge, page=True),
]
