"""GET /{repo}/resolve/{rev}/{path}: a file's bytes, or what is known of it (HEAD)."""

from __future__ import annotations

import posixpath
from urllib.parse import quote

from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api import ranges
from llmos.hub.api.asking import Ask
from llmos.hub.api.hf.xet_reading import xet_headers
from llmos.hub.api.routing import Route
from llmos.hub.errors import entry_not_found
from llmos.hub.git import trees, versions
from llmos.hub.git.entries import Entry
from llmos.hub.repos.delivery import Delivery, deliver

COUNTED = ("config.json", "README.md")  # a GET of one of these is a download of the repository
KIND = "application/octet-stream"
PICTURES = {  # what a card may show, by the end of the name
    "avif": "image/avif",
    "gif": "image/gif",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "svg": "image/svg+xml",
    "webp": "image/webp",
}
# No script, nothing from elsewhere, nothing of this hub; a drawing may have its own styles.
SANDBOX = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


def send_file(ask: Ask) -> Response:
    """A file of a revision; large ones of an S3 store are redirected to it.

    No file runs in a browser as a page of the hub: all but pictures are of a kind that browsers do
    not open, and what they do open (an SVG drawing may hold scripts) is sandboxed. Pictures that a
    card shows come from the hub itself, as its pages load nothing from elsewhere.
    """
    ending = posixpath.splitext(ask.value("path"))[1].lower()
    return _send(ask, PICTURES.get(ending[1:], KIND))


def send_text(ask: Ask) -> Response:
    """The same, said to be plain text, for a browser to show."""
    return _send(ask, "text/plain; charset=utf-8")


def _send(ask: Ask, kind: str) -> Response:
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
        "Content-Security-Policy": SANDBOX,
    }
    if entry.lfs:
        headers |= {"X-Linked-Size": str(entry.size), "X-Linked-ETag": etag}
        headers |= xet_headers(ask, file, commit)
    if _has_it(ask.request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    if ask.request.method == "GET" and path in COUNTED and "range" not in ask.request.headers:
        ask.hub.downloads.count(ask.repo.id)
    seconds = ask.hub.settings.link_lifetime
    on_a_page = ask.request.headers.get("sec-fetch-dest") == "image"
    if entry.lfs and not on_a_page:
        link = file.link(name, seconds)
        if link:
            return RedirectResponse(link, 302, headers)
    return ranges.respond(ask.request, entry.size, headers, kind, file.read)


def _has_it(header: str, etag: str) -> bool:
    """Whether If-None-Match names this content."""
    named = (text.strip().removeprefix("W/") for text in header.split(","))
    return header.strip() == "*" or etag in named


ROUTES = [
    Route("GET", "/{prefix}/{repo}/resolve/{rev}/{path*}", Right.CONTENT, send_file),
    Route("GET", "/{prefix}/{repo}/raw/{rev}/{path*}", Right.CONTENT, send_text),
]
