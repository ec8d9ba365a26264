"""GET /api/{kind}/{repo}[/revision/{rev}]: what is told of one repository; auth-check."""

from __future__ import annotations

from starlette.responses import Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api.asking import Ask, answer, done
from llmos.hub.api.hf.describing import TOLD, describe
from llmos.hub.api.hf.queries import fields_from
from llmos.hub.api.routing import Route
from llmos.hub.git import versions
from llmos.hub.repos.information import security


def tell(ask: Ask) -> Response:
    """A repository at a revision (main, if none is named)."""
    repo = ask.repo
    fields, named = fields_from(ask, TOLD | {"siblings"})
    with ask.hub.database.read() as connection:
        commit = versions.resolve(connection, repo.id, ask.match.values.get("rev") or repo.head)
        told = describe(
            connection,
            ask.caller,
            repo,
            fields,
            root=commit.tree,
            sizes=ask.query_true("blobs") or ask.query_true("files_metadata"),
            named=named,
        )
        if "sha" in fields:
            told["sha"] = commit.oid
        if ask.query_true("securityStatus") and ask.right >= Right.CONTENT:
            told["securityRepoStatus"] = security(connection, repo, commit.tree)
    return answer(told, headers={"X-Repo-Commit": commit.oid})


def may(ask: Ask) -> Response:
    """That the caller may do what the route asks for."""
    return done()


ROUTES = [
    Route("GET", "/api/{kind}/{repo}", Right.READ, tell),
    Route("GET", "/api/{kind}/{repo}/revision/{rev}", Right.READ, tell),
    Route("GET", "/api/{kind}/{repo}/auth-check", Right.CONTENT, may),
    Route("GET", "/api/{kind}/{repo}/auth-check/write", Right.WRITE, may),
]
