"""Files of a repository: folders, and one file with its text."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select
from starlette.responses import Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api.asking import Ask
from llmos.hub.api.hf.files import PICTURES
from llmos.hub.api.routing import Route
from llmos.hub.database.tables import blobs, refs
from llmos.hub.errors import entry_not_found
from llmos.hub.git import trees, versions
from llmos.hub.git.entries import Entry
from llmos.hub.git.lastchange import last_changes
from llmos.web.markdown import card_html, without_head
from llmos.web.rendering import file_path, page
from llmos.web.repo_views import shell, shown_text

PAGE = 500  # entries of a folder
LARGEST_SHOWN = 512 << 10  # bytes of a text
MOST_LINES = 5000


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a folder; `changed` is the commit that changed it last, if it was lately."""

    name: str
    path: str
    entry: Entry
    changed: Row[Any] | None


def folder(ask: Ask) -> Response:
    """What is in a folder."""
    path = ask.match.values.get("path", "").strip("/")
    revision = ask.value("rev")
    after = ask.query("after")
    with ask.hub.database.read() as connection:
        shown = shell(ask, connection, "files")
        commit = versions.resolve(connection, ask.repo.id, revision)
        key = commit.tree
        if path:
            entry = trees.find(connection, commit.tree, path)
            if entry is None or not entry.directory:
                raise entry_not_found(path, commit.oid)
            key = entry.key
        entries = sorted(
            trees.load(connection, key).items(), key=lambda one: (not one[1].directory, one[0])
        )
        start = int(after) if after.isdecimal() and len(after) < 10 else 0
        some = entries[start : start + PAGE]
        paths = [posixpath.join(path, name) for name, _ in some]
        changed = last_changes(connection, ask.repo.id, commit, paths)
        branches = _references(connection, ask.repo.id)
    lines = [
        Line(name, full, one, changed.get(full))
        for full, (name, one) in zip(paths, some, strict=True)
    ]
    return page(
        ask,
        "folder.html",
        **shown,
        revision=revision,
        commit=commit,
        crumbs=_crumbs(ask, revision, path),
        lines=lines,
        total=len(entries),
        forward=f"?after={start + PAGE}" if start + PAGE < len(entries) else "",
        back="?" if start else "",
        branches=branches,
    )


def _references(connection: Connection, repo_id: int) -> list[tuple[str, str]]:
    rows = connection.execute(
        select(refs.c.kind, refs.c.name)
        .where(refs.c.repo_id == repo_id, refs.c.kind != "pr")
        .order_by(refs.c.kind, refs.c.name)
        .limit(200)
    )
    return [(row.kind, row.name.split("/", 2)[2]) for row in rows]


def _crumbs(ask: Ask, revision: str, path: str) -> list[tuple[str, str]]:
    names = (ask.repo.kind, ask.repo.full_name)
    parts = path.split("/") if path else []
    root = ask.repo.full_name.rpartition("/")[2]
    found = [(root, file_path(*names, "tree", revision) if parts else "")]
    for end, part in enumerate(parts, 1):
        above = "/".join(parts[:end])
        found.append((part, file_path(*names, "tree", revision, above) if end < len(parts) else ""))
    return found


def file(ask: Ask) -> Response:
    """One file: its text with numbered lines, or what is known of it."""
    path, revision = ask.value("path"), ask.value("rev")
    with ask.hub.database.read() as connection:
        shown = shell(ask, connection, "files")
        commit = versions.resolve(connection, ask.repo.id, revision)
        entry = trees.find(connection, commit.tree, path)
        if entry is None or entry.directory:
            raise entry_not_found(path, commit.oid)
        blob = connection.execute(select(blobs).where(blobs.c.sha256 == entry.key)).first()
        changed = last_changes(connection, ask.repo.id, commit, [path]).get(path)
    good = blob is None or blob.state == "good"
    text = shown_text(ask.hub, path, entry, LARGEST_SHOWN)
    lines = text.split("\n") if text is not None else []
    if lines and not lines[-1]:
        lines.pop()
    names = (ask.repo.kind, ask.repo.full_name)
    ending = path.rpartition(".")[2].lower()
    rendered = None
    if text is not None and ending in ("md", "markdown") and not ask.query_true("plain"):
        rendered = card_html(
            without_head(text),
            file_path(*names, "blob", revision) + "/",
            file_path(*names, "resolve", revision) + "/",
            posixpath.dirname(path),
        )
    return page(
        ask,
        "file.html",
        **shown,
        revision=revision,
        commit=commit,
        crumbs=_crumbs(ask, revision, path),
        file_path_here=path,
        entry=entry,
        blob=blob,
        changed=changed,
        is_text=text is not None,
        markdown=ending in ("md", "markdown"),
        rendered=rendered,
        picture=good and ending in PICTURES and entry.size <= 10_000_000,
        lines=lines[:MOST_LINES],
        left_out=max(0, len(lines) - MOST_LINES),
    )


ROUTES = [
    Route("GET", "/{prefix}/{repo}/tree/{rev}", Right.CONTENT, folder, page=True),
    Route("GET", "/{prefix}/{repo}/tree/{rev}/{path*}", Right.CONTENT, folder, page=True),
    Route("GET", "/{prefix}/{repo}/blob/{rev}/{path*}", Right.CONTENT, file, page=True),
]
