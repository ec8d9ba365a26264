"""GET /{repo}/resolve/{rev}/{path}: a file's bytes, or what is known of it (HEAD)."""

from __future__ import annotations

import posixpath
from urllib.parse import quote

from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api import ranges
from llmos.hub.api.asking import Ask
from llmos.hub.api.routing import Route
from llmos.hub.errors import entry_not_found
from llmos.hub.git import trees, versions
from llmos.hub.git.entries import Entry
from llmos.hub.repos.delivery import Delivery, deliver

COUNTED = ("config.json", "README.md")  # a GET of one of these is a download of the repository
KIND = "application/octet-stream"


def send_file(ask: Ask) -> Response:
    """A file of a revision; large ones of an S3 store are redirected to it.

    No file runs in a browser as a page of the hub: its kind says nothing, and it is sandboxed.
    """
    path, revision = ask.value("path"), ask.value("rev")

    def look(connection: Connection) -> tuple[str, Entry, Delivery]:
        commit = versions.resolve(connection, ask.repo.id, revision)
        entry = trees.find(connection, commit.tree, path)
        if entry is None or entry.directory:
            raise entry_not_found(path, commit.oid)
        return commit.oid, entry, deliver(ask.hub, connection, path, entry, ask.right)

    asked = ("file", ask.repo.id, revision, path, ask.right)
    commit, entry, file = ask.hub.memory.read(asked, look)
    name = posixpath.basename(path)
    etag = f'"{entry.key if entry.lfs else entry.oid}"'
    headers = {
        "X-Repo-Commit": commit,
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name)}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if entry.lfs:
        headers |= {"X-Linked-Size": str(entry.size), "X-Linked-ETag": etag}
    if _has_it(ask.request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    if ask.request.method == "GET" and path in COUNTED and "range" not in ask.request.headers:
        ask.hub.downloads.count(ask.repo.id)
    seconds = ask.hub.settings.link_lifetime
    link = ask.hub.blobs.link(entry.key, seconds=seconds, filename=name) if entry.lfs else None
    if link:
        return RedirectResponse(link, 302, headers)
    return ranges.respond(ask.request, entry.size, headers, KIND, file.read)


def _has_it(header: str, etag: str) -> bool:
    """Whether If-None-Match names this content."""
    named = (text.strip().removeprefix("W/") for text in header.split(","))
    return header.strip() == "*" or etag in named


ROUTES = [
    Route("GET", "/{prefix}/{repo}/resolve/{rev}/{path*}", Right.CONTENT, send_file),
    Route("GET", "/{prefix}/{repo}/raw/{rev}/{path*}", Right.CONTENT, send_file),
]
