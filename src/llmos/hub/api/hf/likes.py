"""Likes: given, taken back, listed."""

from __future__ import annotations

from starlette.responses import Response

from llmos.hub.accounts.rights import Right, account_row
from llmos.hub.api.asking import Ask, answer, done, iso
from llmos.hub.api.hf.queries import page_limit
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import HubError
from llmos.hub.repos.likes import liked_by, likers, set_like
from llmos.hub.repos.listing import read_cursor


def like(ask: Ask) -> Response:
    """The caller likes the repository."""
    set_like(ask.hub, ask.need_account(), ask.repo, True)
    return done()


def unlike(ask: Ask) -> Response:
    """The caller likes the repository no longer."""
    set_like(ask.hub, ask.need_account(), ask.repo, False)
    return done()


def list_likers(ask: Ask) -> Response:
    """Who likes the repository, the latest first."""
    after = read_cursor(ask.query("cursor"))
    with ask.hub.database.read() as connection:
        rows, more = likers(connection, ask.repo.id, page_limit(ask), after)
    found = [
        {"user": row.name, "fullname": row.full_name or row.name, "avatarUrl": "", "type": "user"}
        for row in rows
    ]
    return answer(found, headers=ask.next_link(cursor=more) if more else None)


def list_liked(ask: Ask) -> Response:
    """What a user likes, of what the caller may see, the latest first."""
    after = read_cursor(ask.query("cursor"))
    with ask.hub.database.read() as connection:
        account = account_row(connection, ask.value("user"))
        if account is None or account.kind != "user":
            raise HubError(404, "This user does not exist")
        rows, more = liked_by(connection, ask.caller, account.id, page_limit(ask), after)
    found = [
        {"createdAt": iso(row.created_at), "repo": {"name": row.full_name, "type": row.kind}}
        for row in rows
    ]
    return answer(found, headers=ask.next_link(cursor=more) if more else None)


ROUTES = [
    Route("POST", "/api/{kind}/{repo}/like", Right.PROPOSE, like),
    Route("DELETE", "/api/{kind}/{repo}/like", Right.PROPOSE, unlike),
    Route("GET", "/api/{kind}/{repo}/likers", Right.READ, list_likers),
    Route("GET", "/api/users/{user}/likes", Need.PUBLIC, list_liked),
]
