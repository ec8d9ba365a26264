"""Commits: what a client asks before it sends files (preupload), commits, and their list."""

from __future__ import annotations

import html
from itertools import islice
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import Row
from starlette.responses import Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api.asking import Ask, answer, iso
from llmos.hub.api.hf import operations
from llmos.hub.api.routing import Route
from llmos.hub.git import trees, versions
from llmos.hub.repos import changes
from llmos.hub.repos.attributes import Ignored, LargeFiles
from llmos.hub.repos.content import keep_small
from llmos.hub.repos.limits import check_sharing
from llmos.hub.repos.names import checked_path

PAGE = 50  # commits
LARGEST_RULES = 1 << 20  # bytes of a .gitattributes or .gitignore that is read


class Planned(BaseModel):
    """A file that a client means to send."""

    path: str
    size: int = Field(ge=0)
    sample: str = ""


class Preupload(BaseModel):
    """The body of a preupload."""

    files: list[Planned] = Field(max_length=1000)
    gitIgnore: str | None = Field(default=None, max_length=LARGEST_RULES)


def preupload(ask: Ask) -> Response:
    """How each file is to be sent (`uploadMode`), whether .gitignore leaves it out, and the id of
    what is there now. Who may only propose needs create_pr=1."""
    asked = ask.data
    assert isinstance(asked, Preupload)
    with ask.hub.database.read() as connection:
        if not ask.query_true("create_pr"):
            changes.check_commit(connection, ask.caller, ask.right, ask.repo, ask.value("rev"))
        commit = versions.resolve(connection, ask.repo.id, ask.value("rev"))
        entries = {
            file.path: trees.find(connection, commit.tree, checked_path(file.path))
            for file in asked.files
        }
        rules = {
            name: trees.find(connection, commit.tree, name)
            for name in (".gitattributes", ".gitignore")
        }
    large = LargeFiles(_content(ask, rules[".gitattributes"]))
    given = asked.gitIgnore
    ignored = Ignored(
        _content(ask, rules[".gitignore"]).decode(errors="replace") if given is None else given
    )
    found = []
    for file in asked.files:
        lfs = file.size > 0 and (file.size > ask.hub.settings.lfs_above or large.take(file.path))
        out = ignored.leave_out(file.path)
        if not out:
            check_sharing(ask.repo, file.path, file.size, large=lfs)
        entry = entries[file.path]
        about: dict[str, Any] = {
            "path": file.path,
            "uploadMode": "lfs" if lfs else "regular",
            "shouldIgnore": out,
        }
        if entry and not entry.directory:
            about["oid"] = entry.key if entry.lfs else entry.oid
        found.append(about)
    return answer({"commitOid": commit.oid, "files": found})


def _content(ask: Ask, entry: trees.Entry | None) -> bytes:
    if entry is None or entry.directory or entry.lfs or entry.size > LARGEST_RULES:
        return b""
    return b"".join(ask.hub.blobs.read(entry.key))


def commit(ask: Ask) -> Response:
    """A commit to a branch, or to a pull request that one has opened; with create_pr=1 to a new
    one. Who may only propose needs one of the latter two."""
    revision, repo = ask.value("rev"), ask.repo
    sent = operations.read_commit(ask)
    page = ask.address_of(repo)
    with ask.hub.database.read() as connection:
        if ask.query_true("create_pr"):
            plan = None
            made = operations.enter(connection, repo.id, sent)
        else:
            head = changes.check_commit(connection, ask.caller, ask.right, repo, revision)
            made = operations.enter(connection, repo.id, sent)
            plan = changes.plan(connection, repo, head, made)
    keep_small(ask.hub, made, sent.small)
    if plan is None:
        oid, number = changes.open_with_commit(ask.hub, ask.caller, repo, revision, made)
        url: str | None = f"{page}/discussions/{number}"
    else:
        oid, url = changes.land(ask.hub, ask.caller, repo, plan, made), None
    return answer(
        {
            "success": True,
            "commitOid": oid,
            "commitUrl": f"{page}/commit/{oid}",
            "pullRequestUrl": url,
            "hookOutput": "",
        }
    )


def list_commits(ask: Ask) -> Response:
    """The commits of a revision, newest first, 50 a page (`p`)."""
    page = ask.query_number("p", 0, 10**9)
    with ask.hub.database.read() as connection:
        head = versions.resolve(connection, ask.repo.id, ask.value("rev"))
        history = versions.history(connection, ask.repo.id, head.oid)
        total = sum(1 for _ in islice(history, page * PAGE))
        shown = list(islice(history, PAGE))
        total += len(shown) + sum(1 for _ in history)
    formatted = "formatted" in ask.query_list("expand")
    headers = {"X-Total-Count": str(total), "X-Repo-Commit": head.oid}
    if total > (page + 1) * PAGE:
        headers |= ask.next_link(p=page + 1)
    return answer([_about(row, formatted) for row in shown], headers=headers)


def _about(row: Row[Any], formatted: bool) -> dict[str, Any]:
    about = {
        "id": row.oid,
        "title": row.title,
        "message": row.message,
        "date": iso(row.created_at),
        "authors": [{"user": row.author, "avatar": ""}],
        "parents": row.parents,
    }
    if formatted:
        about["formatted"] = {"title": _escaped(row.title), "message": _escaped(row.message)}
    return about


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


ROUTES = [
    Route("POST", "/api/{kind}/{repo}/preupload/{rev}", Right.PROPOSE, preupload, takes=Preupload),
    Route("POST", "/api/{kind}/{repo}/commit/{rev}", Right.PROPOSE, commit),
    Route("GET", "/api/{kind}/{repo}/commits/{rev}", Right.READ, list_commits),
]
