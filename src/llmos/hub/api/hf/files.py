"""GET /{repo}/resolve/{rev}/{path}: a file's bytes, or what is known of it (HEAD)."""

from __future__ import annotations

import posixpath
from urllib.parse import quote

from sqlalchemy import update
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse

from llmos.hub.accounts.rights import Right
from llmos.hub.api.asking import Ask
from llmos.hub.api.routing import Route
from llmos.hub.database.tables import repos
from llmos.hub.errors import entry_not_found
from llmos.hub.git import trees, versions

FileResponse.chunk_size = 1 << 20  # 64 KiB pieces serve a third as fast
COUNTED = ("config.json", "README.md")  # a GET of one of these is a download of the repository


def send_file(ask: Ask) -> Response:
    """A file of a revision; large ones of an S3 store are redirected to it."""
    path = ask.value("path")
    with ask.hub.database.read() as connection:
        commit = versions.resolve(connection, ask.repo.id, ask.value("rev"))
        entry = trees.find(connection, commit.tree, path)
    if entry is None or entry.directory:
        raise entry_not_found(path, commit.oid)
    name = posixpath.basename(path)
    etag = f'"{entry.key if entry.lfs else entry.oid}"'
    headers = {
        "X-Repo-Commit": commit.oid,
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name)}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if entry.lfs:
        headers |= {"X-Linked-Size": str(entry.size), "X-Linked-ETag": etag}
    if ask.request.method == "GET" and path in COUNTED and "range" not in ask.request.headers:
        with ask.hub.database.write() as connection:
            counted = update(repos).where(repos.c.id == ask.repo.id)
            connection.execute(counted.values(downloads=repos.c.downloads + 1))
    if ask.request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    seconds = ask.hub.settings.link_lifetime
    link = ask.hub.blobs.link(entry.key, seconds=seconds, filename=name) if entry.lfs else None
    if link:
        return RedirectResponse(link, 302, headers)
    kind = "application/octet-stream"
    if ask.request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(entry.size)}, media_type=kind)
    file = ask.hub.blobs.path(entry.key)
    if file is not None:
        return FileResponse(file, headers=headers, media_type=kind)
    headers["Content-Length"] = str(entry.size)
    return StreamingResponse(ask.hub.blobs.read(entry.key), headers=headers, media_type=kind)


ROUTES = [
    Route("GET", "/{prefix}/{repo}/resolve/{rev}/{path*}", Right.CONTENT, send_file),
    Route("GET", "/{prefix}/{repo}/raw/{rev}/{path*}", Right.CONTENT, send_file),
]
