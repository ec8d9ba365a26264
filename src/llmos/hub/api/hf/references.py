"""Branches and tags: listed, made, removed; a branch's history made one commit."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from sqlalchemy import Row
from starlette.responses import Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api.asking import Ask, answer, done
from llmos.hub.api.routing import Route
from llmos.hub.repos import references

CUT = {"branch": len("refs/heads/"), "tag": len("refs/tags/"), "pr": len("refs/")}


class NewBranch(BaseModel):
    """The body of a new branch."""

    startingPoint: str = "main"


class NewTag(BaseModel):
    """The body of a new tag."""

    tag: str
    message: str | None = None


class Squash(BaseModel):
    """The body of a super-squash."""

    message: str | None = None


def list_references(ask: Ask) -> Response:
    """All branches and tags, with `include_prs` pull requests too."""
    with ask.hub.database.read() as connection:
        rows = references.all_of(connection, ask.repo.id)
    found: dict[str, Any] = {
        "branches": _named(rows, "branch"),
        "converts": [],
        "tags": _named(rows, "tag"),
    }
    if "include_prs" in ask.request.query_params:
        found["pullRequests"] = _named(rows, "pr")
    return answer(found)


def _named(rows: list[Row[Any]], kind: str) -> list[dict[str, str]]:
    return [
        {"name": row.name[CUT[kind] :], "ref": row.name, "targetCommit": row.commit}
        for row in rows
        if row.kind == kind
    ]


def make_branch(ask: Ask) -> Response:
    """A new branch at a revision."""
    data = ask.data
    assert isinstance(data, NewBranch)
    references.add(ask.hub, ask.caller, ask.repo, "branch", ask.value("rev"), data.startingPoint)
    return done(201)


def make_tag(ask: Ask) -> Response:
    """A new tag at a revision."""
    data = ask.data
    assert isinstance(data, NewTag)
    references.add(
        ask.hub, ask.caller, ask.repo, "tag", data.tag, ask.value("rev"), message=data.message
    )
    return done(201)


def remove_branch(ask: Ask) -> Response:
    """Remove a branch; never main."""
    references.remove(ask.hub, ask.caller, ask.repo, "branch", ask.value("rev"))
    return done()


def remove_tag(ask: Ask) -> Response:
    """Remove a tag."""
    references.remove(ask.hub, ask.caller, ask.repo, "tag", ask.value("rev"))
    return done()


def squash(ask: Ask) -> Response:
    """Make a branch's history one commit. Earlier ones stay until a tag, branch or pull request
    no longer leads to them."""
    data = ask.data
    assert isinstance(data, Squash)
    references.squash(ask.hub, ask.caller, ask.repo, ask.value("rev"), data.message)
    return done()


ROUTES = [
    Route("GET", "/api/{kind}/{repo}/refs", Right.READ, list_references),
    Route("POST", "/api/{kind}/{repo}/branch/{rev}", Right.MANAGE, make_branch, takes=NewBranch),
    Route("DELETE", "/api/{kind}/{repo}/branch/{rev}", Right.MANAGE, remove_branch),
    Route("POST", "/api/{kind}/{repo}/tag/{rev}", Right.MANAGE, make_tag, takes=NewTag),
    Route("DELETE", "/api/{kind}/{repo}/tag/{rev}", Right.MANAGE, remove_tag),
    Route("POST", "/api/{kind}/{repo}/super-squash/{rev}", Right.MANAGE, squash, takes=Squash),
]
