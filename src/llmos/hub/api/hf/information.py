"""GET /api/{kind}/{repo}[/revision/{rev}]: what is told of one repository; auth-check."""

from __future__ import annotations

import orjson
from sqlalchemy import Connection
from starlette.responses import Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api.asking import Ask, done
from llmos.hub.api.hf.describing import TOLD, describe
from llmos.hub.api.hf.queries import fields_from
from llmos.hub.api.routing import Route
from llmos.hub.git import versions
from llmos.hub.repos.information import security


def tell(ask: Ask) -> Response:
    """A repository at a revision (main, if none is named)."""
    fields, named = fields_from(ask, TOLD | {"siblings"})
    who = (ask.caller.id, ask.caller.admin, ask.caller.scope, ask.caller.repos, ask.right)
    revision = ask.match.values.get("rev") or ask.repo.head
    asked = ("told", who, ask.repo.id, revision, ask.request.scope["query_string"])

    def look(connection: Connection) -> tuple[bytes, str]:
        commit = versions.resolve(connection, ask.repo.id, revision)
        told = describe(
            connection,
            ask.caller,
            ask.repo,
            fields,
            root=commit.tree,
            sizes=ask.query_true("blobs") or ask.query_true("files_metadata"),
            named=named,
        )
        if "sha" in fields:
            told["sha"] = commit.oid
        if ask.query_true("securityStatus") and ask.right >= Right.CONTENT:
            told["securityRepoStatus"] = security(connection, ask.repo, commit.tree)
        return orjson.dumps(told), commit.oid

    body, commit = ask.hub.memory.read(asked, look, lambda told: 1000 + len(told[0]))
    return Response(body, headers={"X-Repo-Commit": commit}, media_type="application/json")


def may(ask: Ask) -> Response:
    """That the caller may do what the route asks for."""
    return done()


ROUTES = [
    Route("GET", "/api/{kind}/{repo}", Right.READ, tell),
    Route("GET", "/api/{kind}/{repo}/revision/{rev}", Right.READ, tell),
    Route("GET", "/api/{kind}/{repo}/auth-check", Right.CONTENT, may),
    Route("GET", "/api/{kind}/{repo}/auth-check/write", Right.WRITE, may),
]
