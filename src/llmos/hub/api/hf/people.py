"""What is told of users and organisations. Nobody follows anybody here: those lists are empty."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, select, tuple_
from starlette.responses import Response

from llmos.hub.accounts.rights import account_row, visible
from llmos.hub.api.asking import Ask, answer, iso
from llmos.hub.api.hf.queries import page_limit
from llmos.hub.api.routing import Need, Route
from llmos.hub.database.tables import accounts, discussions, likes, memberships, repos
from llmos.hub.errors import HubError
from llmos.hub.repos.listing import Cursor, read_cursor

COUNTS = {"model": "numModels", "dataset": "numDatasets", "space": "numSpaces", "run": "numRuns"}


def _account(connection: Connection, name: str, kind: str) -> Row[Any]:
    row = account_row(connection, name)
    if row is None or row.kind != kind:
        what = "user" if kind == "user" else "organization"
        raise HubError(404, f"This {what} does not exist")
    return row


def _brief(row: Row[Any]) -> dict[str, Any]:
    """An account as it stands in lists."""
    name = {"user": row.name} if row.kind == "user" else {"name": row.name}
    return {
        "_id": f"{row.id:024x}",
        "avatarUrl": "",
        "fullname": row.full_name or row.name,
        "type": row.kind,
        "isPro": False,
        **name,
    }


def _counts(ask: Ask, connection: Connection, owner_id: int) -> dict[str, int]:
    """How many repositories an account has, of those that the caller may see."""
    rows = connection.execute(
        select(repos.c.kind, func.count().label("number"))
        .where(repos.c.owner_id == owner_id, visible(ask.caller, repos))
        .group_by(repos.c.kind)
    )
    found = {row.kind: row.number for row in rows}
    return {name: found.get(kind, 0) for kind, name in COUNTS.items()}


def _told(ask: Ask, connection: Connection, row: Row[Any]) -> dict[str, Any]:
    return {
        **_brief(row),
        "name": row.name,
        "details": row.about,
        "country": row.country,
        "languages": row.languages,
        "website": row.website,
        "createdAt": iso(row.created_at),
        "isFollowing": False,
        "numFollowers": 0,
        "numFollowing": 0,
        "numPapers": 0,
        **_counts(ask, connection, row.id),
    }


def user_overview(ask: Ask) -> Response:
    """A user: what they wrote of themselves, organisations, how much they made."""
    with ask.hub.database.read() as connection:
        row = _account(connection, ask.value("user"), "user")
        told = _told(ask, connection, row)
        orgs = connection.execute(
            select(accounts)
            .join(memberships, memberships.c.org_id == accounts.c.id)
            .where(memberships.c.user_id == row.id)
            .order_by(accounts.c.name_key)
        )
        told["orgs"] = [_brief(org) for org in orgs]
        told["numLikes"] = connection.execute(
            select(func.count())
            .select_from(likes)
            .join(repos, repos.c.id == likes.c.repo_id)
            .where(likes.c.account_id == row.id, visible(ask.caller, repos))
        ).scalar_one()
        told["numDiscussions"] = connection.execute(
            select(func.count())
            .select_from(discussions)
            .join(repos, repos.c.id == discussions.c.repo_id)
            .where(discussions.c.author == row.name, visible(ask.caller, repos))
        ).scalar_one()
        told["numUpvotes"] = 0
    return answer(told)


def organisation_overview(ask: Ask) -> Response:
    """An organisation: what it wrote of itself, members, how much it made."""
    with ask.hub.database.read() as connection:
        row = _account(connection, ask.value("organization"), "org")
        told = _told(ask, connection, row)
        members = select(func.count()).where(memberships.c.org_id == row.id)
        told["numUsers"] = connection.execute(members).scalar_one()
    return answer({**told, "isVerified": False, "plan": None})


def organisation_members(ask: Ask) -> Response:
    """The members of an organisation, in the order they came."""
    limit, after = page_limit(ask), read_cursor(ask.query("cursor"))
    with ask.hub.database.read() as connection:
        org = _account(connection, ask.value("organization"), "org")
        query = (
            select(accounts, memberships.c.role, memberships.c.created_at.label("joined"))
            .join(memberships, memberships.c.user_id == accounts.c.id)
            .where(memberships.c.org_id == org.id)
        )
        order = (memberships.c.created_at, accounts.c.id)
        if after is not None:
            query = query.where(tuple_(*order) > tuple_(after.value, after.id))
        rows = connection.execute(query.order_by(*order).limit(limit + 1)).all()
    found = [{**_brief(row), "role": row.role} for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    link = ask.next_link(cursor=Cursor(last.joined, last.id)) if last else None
    return answer(found, headers=link)


def nobody_of_user(ask: Ask) -> Response:
    """Followers of a user, or whom they follow: none."""
    with ask.hub.database.read() as connection:
        _account(connection, ask.value("user"), "user")
    return answer([])


def nobody_of_organisation(ask: Ask) -> Response:
    """Followers of an organisation: none."""
    with ask.hub.database.read() as connection:
        _account(connection, ask.value("organization"), "org")
    return answer([])


ROUTES = [
    Route("GET", "/api/users/{user}/overview", Need.PUBLIC, user_overview),
    Route("GET", "/api/users/{user}/followers", Need.PUBLIC, nobody_of_user),
    Route("GET", "/api/users/{user}/following", Need.PUBLIC, nobody_of_user),
    Route("GET", "/api/organizations/{organization}/overview", Need.PUBLIC, organisation_overview),
    Route("GET", "/api/organizations/{organization}/members", Need.PUBLIC, organisation_members),
    Route(
        "GET", "/api/organizations/{organization}/followers", Need.PUBLIC, nobody_of_organisation
    ),
]
