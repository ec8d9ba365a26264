"""The large files of a repository: listed, deleted for good, given to another repository."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api.asking import Ask, answer, done, iso
from llmos.hub.api.routing import Route
from llmos.hub.errors import HubError
from llmos.hub.repos import rewriting
from llmos.hub.repos.content import large_entries, note_blobs
from llmos.hub.repos.finding import find_repo
from llmos.hub.repos.limits import check_sharing

PAGE = 1000
EACH = 400  # bytes of memory that a file's facts take, about


class Deletions(BaseModel):
    """Which files, by sha256."""

    sha: list[str] = Field(max_length=1000)
    rewriteHistory: bool = True


class Batch(BaseModel):
    """The body of a deletion."""

    deletions: Deletions


class Target(BaseModel):
    """A repository that files are given to."""

    type: str
    name: str


class Given(BaseModel):
    """A file that is given."""

    sha256: str
    filename: str = ""


class Gift(BaseModel):
    """The body of lfs-files/duplicate."""

    target: Target
    files: list[Given] = Field(max_length=1000)


def list_large_files(ask: Ask) -> Response:
    """The large files of all branches, tags and pull requests and their histories."""
    start = ask.query_number("cursor", 0, 10**9)
    found = ask.hub.memory.read(  # the next page would walk through all versions again
        ("large files", ask.repo.id),
        lambda connection: rewriting.large_files(connection, ask.repo.id),
        lambda files: EACH * len(files),
    )
    page = found[start : start + PAGE]
    about = [
        {
            "fileOid": one.sha256,
            "oid": one.sha256,
            "filename": one.path,
            "size": one.size,
            "pushedAt": iso(one.pushed_at),
            "ref": one.reference,
        }
        for one in page
    ]
    more = ask.next_link(cursor=start + PAGE) if start + PAGE < len(found) else None
    return answer(about, headers=more)


def delete_large_files(ask: Ask) -> Response:
    """Delete large files for good: every version is rewritten without them, so commit ids change.
    (Without `rewriteHistory` too: a version that names a file it has lost would be of no use.)"""
    data = ask.data
    assert isinstance(data, Batch)
    rewriting.delete_for_good(ask.hub, ask.caller, ask.repo, set(data.deletions.sha))
    return done()


def give_large_files(ask: Ask) -> Response:
    """Let another repository, to which the caller may write, hold large files of this one too:
    nothing is sent."""
    data = ask.data
    assert isinstance(data, Gift)
    target, right = find_repo(ask.hub, ask.caller, data.target.type, data.target.name)
    if right < Right.WRITE:
        raise HubError(403, f"You don't have write access to {data.target.name}")
    for file in data.files:
        check_sharing(target, file.filename, 0, large=True)
    failed: list[dict[str, Any]] = []
    with ask.hub.database.write() as connection:
        sizes = {}
        for file in data.files:
            try:
                entry = large_entries(connection, ask.repo.id, [file.sha256])[file.sha256]
                sizes[file.sha256] = entry.size
            except HubError as error:
                failed.append({"sha256": file.sha256, "error": error.message})
        note_blobs(connection, target.id, sizes, committed=False)
    return answer({"success": [{"sha256": sha256} for sha256 in sizes], "failed": failed})


ROUTES = [
    Route("GET", "/api/{kind}/{repo}/lfs-files", Right.WRITE, list_large_files),
    Route("POST", "/api/{kind}/{repo}/lfs-files/batch", Right.OWN, delete_large_files, takes=Batch),
    Route(
        "POST",
        "/api/{kind}/{repo}/lfs-files/duplicate",
        Right.CONTENT,
        give_large_files,
        takes=Gift,
    ),
]
