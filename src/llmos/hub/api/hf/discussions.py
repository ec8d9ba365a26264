"""/api/{kind}/{repo}/discussions: discussions and pull requests.

Reading them needs the right to see the repository; the diff of a pull request, which shows what is
in files, the right to its content. Whoever may propose may open and comment; titles, status and
comments are changed by their authors and by those who manage the repository, which is checked
within; only the latter merge, pin and delete.
"""

from __future__ import annotations

import html
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import Row
from starlette.responses import Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api.asking import Ask, answer, done, iso
from llmos.hub.api.routing import Route
from llmos.hub.errors import HubError, bad_request
from llmos.hub.git import trees, versions
from llmos.hub.together import comments, diffs, discussions, merging
from llmos.hub.together.pull_requests import open_pull_request

KINDS = ("", "all", "discussion", "pull_request")
STATES = ("", "all", "open", "closed")


class NewDiscussion(BaseModel):
    """What is opened."""

    title: str
    description: str = ""
    pull_request: bool = Field(False, alias="pullRequest")


class Comment(BaseModel):
    """A comment."""

    comment: str


class Content(BaseModel):
    """A comment's new text."""

    content: str


class Title(BaseModel):
    """A new title."""

    title: str


class Status(BaseModel):
    """A new status (open or closed), with a comment."""

    status: str
    comment: str | None = None


class Merge(BaseModel):
    """A merge, with a comment."""

    comment: str | None = None


class Pin(BaseModel):
    """Whether to show it before all others."""

    pinned: bool = True


def list_discussions(ask: Ask) -> Response:
    """Ten a page (p=0, 1, ...), filtered by author, type and status."""
    kind, status = ask.query("type"), ask.query("status")
    if kind not in KINDS or status not in STATES:
        raise bad_request("type: discussion, pull_request or all; status: open, closed or all")
    page = ask.query_number("p", 0, 1_000_000)
    with ask.hub.database.read() as connection:
        count, rows = discussions.list_discussions(
            connection,
            ask.repo.id,
            author=ask.query("author"),
            kind=kind,
            status=status,
            page=page,
        )
        closed, _ = discussions.list_discussions(connection, ask.repo.id, status="closed")
        numbers = [row.number for row in rows]
        written = discussions.counts_of_comments(connection, ask.repo.id, numbers)
    shown = [_shown(ask, row) | {"numComments": written.get(row.number, 0)} for row in rows]
    return answer(
        {
            "discussions": shown,
            "count": count,
            "start": page * discussions.PAGE,
            "numClosedDiscussions": closed,
        }
    )


def _shown(ask: Ask, row: Row[Any]) -> dict[str, Any]:
    return {
        "num": row.number,
        "title": row.title,
        "status": row.status,
        "author": {"name": row.author, "type": "user"},
        "createdAt": iso(row.created_at),
        "isPullRequest": row.pull_request,
        "pinned": row.pinned,
        "repo": {"name": ask.repo.full_name, "type": ask.repo.kind},
    }


def show_event(row: Row[Any]) -> dict[str, Any]:
    """An event as clients read it."""
    data = row.data
    if row.type == "comment":
        data = {
            "edited": bool(data["history"]),
            "hidden": data["hidden"],
            "latest": _version(data),
            "numEdits": len(data["history"]),
            "history": [_version(one) for one in data["history"]],
        }
    return {
        "id": row.event_id,
        "type": row.type,
        "author": {"name": row.author, "type": "user"},
        "createdAt": iso(row.created_at),
        "data": data,
    }


def _version(data: dict[str, Any]) -> dict[str, Any]:
    text = html.escape(data["text"]).replace("\n", "<br>\n")
    return {
        "raw": data["text"],
        "html": f"<p>{text}</p>",
        "updatedAt": iso(data["at"]),
        "author": {"name": data["by"]},
    }


def _number(ask: Ask) -> int:
    text = ask.value("number")
    if not text.isdecimal() or not text.isascii() or len(text) > 9:
        raise HubError(404, f"There is no discussion {text[:40]} here")
    return int(text)


def show(ask: Ask) -> Response:
    """One discussion with its events; of a pull request also what it changes and, while it is not
    merged, the files that are in conflict."""
    with ask.hub.database.read() as connection:
        row = discussions.discussion_row(connection, ask.repo.id, _number(ask))
        events = discussions.events_of(connection, ask.repo.id, row.number)
        changes: list[diffs.Change] = []
        conflicts: list[str] = []
        if row.pull_request and ask.right >= Right.CONTENT:
            sides = merging.sides_of(connection, row)
            conflicts = [] if row.status == "merged" else sides.conflicts
            root = sides.base.tree if sides.base else None
            changes = list(trees.differences(connection, root, sides.theirs.tree))
    shown = _shown(ask, row) | {"events": [show_event(event) for event in events]}
    if row.pull_request:
        shown["changes"] = {"base": row.base}
        if row.merge_commit:
            shown["changes"]["mergeCommitId"] = row.merge_commit
        shown["filesWithConflicts"] = conflicts
        shown["diff"] = diffs.unified(ask.hub, changes)
    return answer(shown)


def create(ask: Ask) -> Response:
    """Open a discussion, or a pull request from the head of main, as a draft."""
    asked = ask.data
    assert isinstance(asked, NewDiscussion)
    with ask.hub.database.write() as connection:
        if asked.pull_request:
            number = open_pull_request(
                connection,
                ask.caller,
                ask.repo,
                title=asked.title,
                description=asked.description,
                head=versions.resolve(connection, ask.repo.id, versions.MAIN).oid,
                status="draft",
            )
        else:
            text = asked.description.strip() or asked.title
            number = discussions.open_discussion(
                connection, ask.caller, ask.repo, asked.title, text
            )
    url = f"{ask.address_of(ask.repo)}/discussions/{number}"
    return answer({"num": number, "url": url, "pullRequest": asked.pull_request})


def comment(ask: Ask) -> Response:
    """Add a comment."""
    asked = ask.data
    assert isinstance(asked, Comment)
    with ask.hub.database.write() as connection:
        event = discussions.comment(connection, ask.caller, ask.repo, _number(ask), asked.comment)
    return answer({"newMessage": show_event(event)})


def edit_comment(ask: Ask) -> Response:
    """Write one's comment anew: its author alone may, which is checked within."""
    asked = ask.data
    assert isinstance(asked, Content)
    number, event_id = _number(ask), ask.value("event")
    with ask.hub.database.write() as connection:
        event = comments.edit(connection, ask.caller, ask.repo, number, event_id, asked.content)
    return answer({"updatedComment": show_event(event)})


def hide_comment(ask: Ask) -> Response:
    """Take a comment's text away for good: its author may, and who manages the repository, which
    is checked within."""
    number, event_id = _number(ask), ask.value("event")
    with ask.hub.database.write() as connection:
        event = comments.hide(connection, ask.caller, ask.right, ask.repo, number, event_id)
    return answer({"updatedComment": show_event(event)})


def rename(ask: Ask) -> Response:
    """Another title: its author may, and who manages the repository, which is checked within."""
    asked = ask.data
    assert isinstance(asked, Title)
    with ask.hub.database.write() as connection:
        event = discussions.rename(
            connection, ask.caller, ask.right, ask.repo, _number(ask), asked.title
        )
    return answer({"newTitle": show_event(event)})


def set_status(ask: Ask) -> Response:
    """Open or close: its author may, and who manages the repository, which is checked within."""
    asked = ask.data
    assert isinstance(asked, Status)
    with ask.hub.database.write() as connection:
        event = discussions.set_status(
            connection,
            ask.caller,
            ask.right,
            ask.repo,
            _number(ask),
            asked.status,
            asked.comment or "",
        )
    return answer({"newStatus": show_event(event)})


def merge(ask: Ask) -> Response:
    """Merge a pull request; 409 names the files in conflict."""
    asked = ask.data
    assert isinstance(asked, Merge)
    merging.merge(ask.hub, ask.caller, ask.repo, _number(ask), asked.comment or "")
    return done()


def pin(ask: Ask) -> Response:
    """Show a discussion before all others, or no more."""
    asked = ask.data
    assert isinstance(asked, Pin)
    with ask.hub.database.write() as connection:
        discussions.pin(connection, ask.caller, ask.repo, _number(ask), asked.pinned)
    return done()


def remove(ask: Ask) -> Response:
    """Delete a discussion, and a pull request's branch."""
    with ask.hub.database.write() as connection:
        discussions.remove(connection, ask.caller, ask.repo, _number(ask))
    return done()


ALL = "/api/{kind}/{repo}/discussions"
ONE = f"{ALL}/{{number}}"
ROUTES = [
    Route("GET", ALL, Right.READ, list_discussions),
    Route("POST", ALL, Right.PROPOSE, create, NewDiscussion),
    Route("GET", ONE, Right.READ, show),
    Route("DELETE", ONE, Right.MANAGE, remove),
    Route("POST", f"{ONE}/comment", Right.PROPOSE, comment, Comment),
    Route("POST", f"{ONE}/comment/{{event}}/edit", Right.PROPOSE, edit_comment, Content),
    Route("POST", f"{ONE}/comment/{{event}}/hide", Right.PROPOSE, hide_comment),
    Route("POST", f"{ONE}/title", Right.PROPOSE, rename, Title),
    Route("POST", f"{ONE}/status", Right.PROPOSE, set_status, Status),
    Route("POST", f"{ONE}/merge", Right.MANAGE, merge, Merge),
    Route("POST", f"{ONE}/pin", Right.MANAGE, pin, Pin),
]
