"""What is in a folder of a revision (tree), and what is known of some paths (paths-info)."""

from __future__ import annotations

from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, select
from starlette.responses import Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api.asking import Ask, answer, iso
from llmos.hub.api.routing import Route
from llmos.hub.database.tables import blobs
from llmos.hub.errors import HubError, bad_request, entry_not_found
from llmos.hub.git import trees, versions
from llmos.hub.git.entries import rank
from llmos.hub.git.lastchange import last_changes
from llmos.hub.git.objects import pointer
from llmos.hub.repos.delivery import xet_hash_of
from llmos.hub.uploads.landing import danger_of

PAGE, PAGE_EXPANDED = 1000, 50  # entries
MOST_PATHS = 1000  # of one paths-info

Named = list[tuple[str, trees.Entry]]


def list_tree(ask: Ask) -> Response:
    """The entries of a folder, in git's order: all below with `recursive`, with the commit that
    last changed each with `expand`. 1000 a page, 50 with `expand`."""
    path = ask.match.values.get("path", "").strip("/")
    expand = ask.query_true("expand")
    most = PAGE_EXPANDED if expand else PAGE
    limit = ask.query_number("limit", most, most) or most
    after = ask.query("cursor").encode(errors="replace")
    with ask.hub.database.read() as connection:
        commit = versions.resolve(connection, ask.repo.id, ask.value("rev"))
        root = commit.tree
        if path:
            folder = trees.find(connection, root, path)
            if folder is None or not folder.directory:
                raise entry_not_found(f'{path} does not exist on "{ask.value("rev")}"', commit.oid)
            root = folder.key
        prefix = f"{path}/" if path else ""
        if ask.query_true("recursive"):
            entries = trees.walk(connection, root, folders=True, after=after)
        else:
            entries = trees.ordered(connection, root, after)
            entries = (one for one in entries if rank(*one) > after)
        page = list(islice(entries, limit + 1))
        shown = [(prefix + name, entry) for name, entry in page[:limit]]
        about = describe(connection, ask.repo, commit, shown, expand=expand)
    if ask.hub.blobs.direct:  # a client that sees a hash would fetch the file over the hub
        for one in about:
            one.pop("xetHash", None)
    headers = {"X-Repo-Commit": commit.oid}
    if len(page) > limit:
        headers |= ask.next_link(cursor=rank(*page[limit - 1]).decode())
    return answer(about, headers=headers)


def paths_info(ask: Ask) -> Response:
    """The same for some paths, sent as a form or as JSON; those that are not there are left out."""
    if "json" in ask.request.headers.get("content-type", ""):
        data = ask.json()
        paths, expand = data.get("paths"), data.get("expand") is True
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise bad_request("paths must be a list of texts")
    else:
        form = ask.form()
        paths = [*form.get("paths", []), *form.get("paths[]", [])]
        expand = form.get("expand", [""])[-1].lower() in ("1", "true")
    if len(paths) > MOST_PATHS:
        raise HubError(413, f"{len(paths)} paths were asked for; ask for {MOST_PATHS} at a time")
    with ask.hub.database.read() as connection:
        commit = versions.resolve(connection, ask.repo.id, ask.value("rev"))
        found = [
            (path, entry)
            for path in dict.fromkeys(path.strip("/") for path in paths)
            if (entry := trees.find(connection, commit.tree, path))
        ]
        about = describe(connection, ask.repo, commit, found, expand=expand)
    return answer(about, headers={"X-Repo-Commit": commit.oid})


def describe(
    connection: Connection, repo: Row[Any], commit: Row[Any], found: Named, *, expand: bool
) -> list[dict[str, Any]]:
    """Entries as clients read them."""
    keys = [entry.key for _, entry in found if entry.lfs or (expand and not entry.directory)]
    columns = (blobs.c.sha256, blobs.c.state, blobs.c.reason, blobs.c.facts, blobs.c.xet_hash)
    rows = connection.execute(select(*columns).where(blobs.c.sha256.in_(keys))).all()
    states = {row.sha256: row for row in rows}
    about = [_entry(path, entry, states.get(entry.key)) for path, entry in found]
    if not expand:
        return about
    changes = last_changes(connection, repo.id, commit, [path for path, _ in found])
    for (path, entry), one in zip(found, about, strict=True):
        last = changes.get(path)
        one["lastCommit"] = last and {
            "id": last.oid,
            "title": last.title,
            "date": iso(last.created_at),
        }
        if not entry.directory:
            one["securityFileStatus"] = _security(path, states.get(entry.key))
    return about


def _entry(path: str, entry: trees.Entry, row: Any) -> dict[str, Any]:
    if entry.directory:
        return {"type": "directory", "oid": entry.oid, "size": 0, "path": path}
    about: dict[str, Any] = {
        "type": "file",
        "oid": entry.oid,
        "size": entry.size,
        "path": path,
    }
    if entry.lfs:
        length = len(pointer(entry.key, entry.size))
        about["lfs"] = {"oid": entry.key, "size": entry.size, "pointerSize": length}
        if xet_hash := xet_hash_of(path, row):
            about["xetHash"] = xet_hash
    return about


def _security(path: str, row: Any) -> dict[str, Any]:
    """`unsafe`: opening it can run code; `safe`: it was looked at and cannot; `error`: damaged."""
    danger = danger_of(path, row)
    status = "unsafe" if danger else "safe"
    if row is None or row.state == "damaged":
        status = "error"
    return {"status": status, "avScan": None, "pickleImportScan": None, "reason": danger or None}


ROUTES = [
    Route("GET", "/api/{kind}/{repo}/tree/{rev}", Right.READ, list_tree),
    Route("GET", "/api/{kind}/{repo}/tree/{rev}/{path*}", Right.READ, list_tree),
    Route("POST", "/api/{kind}/{repo}/paths-info/{rev}", Right.READ, paths_info),
]
