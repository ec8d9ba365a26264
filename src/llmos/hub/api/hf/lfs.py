"""Git LFS: POST /{repo}.git/info/lfs/objects/batch, and the signed addresses it names."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api import ranges
from llmos.hub.api.asking import Ask
from llmos.hub.api.permission import need_right
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import HubError, bad_request
from llmos.hub.git.entries import Entry
from llmos.hub.repos.content import keep_upload
from llmos.hub.repos.delivery import Delivery, deliver
from llmos.hub.uploads import lfs, multipart
from llmos.hub.uploads.existing import held_here
from llmos.hub.uploads.receiving import receive

MEDIA = "application/vnd.git-lfs+json"


class Wanted(BaseModel):
    """One object of a batch."""

    model_config = ConfigDict(strict=True)
    oid: str
    size: int


class Batch(BaseModel):
    """The body of a batch request; what else clients send is not needed."""

    operation: str
    objects: list[Wanted]
    transfers: list[str] = ["basic"]
    hash_algo: str = "sha256"


def batch(ask: Ask) -> Response:
    """What to do for each object. A download needs CONTENT, an upload PROPOSE: whoever may open a
    pull request may send its files."""
    asked: Batch = ask.data  # type: ignore[assignment]
    try:
        if asked.hash_algo != "sha256":
            raise HubError(409, f"hash_algo {asked.hash_algo[:40]}: this hub knows sha256")
        wanted = lfs.checked_objects(asked.objects)
        if asked.operation == "download":
            need_right(ask, Right.CONTENT)
            objects = _downloads(ask, wanted)
        elif asked.operation == "upload":
            need_right(ask, Right.PROPOSE)
            objects = _uploads(ask, wanted, "multipart" in asked.transfers)
        else:
            raise bad_request(f"operation {asked.operation[:40]}: upload or download")
    except HubError as error:
        error.extra["message"] = error.message  # where git-lfs looks
        raise
    uploads = [one.get("actions", {}).get("upload", {}) for one in objects]
    split = any("chunk_size" in upload.get("header", {}) for upload in uploads)
    data = {
        "transfer": "multipart" if split else "basic",
        "objects": objects,
        "hash_algo": "sha256",
    }
    return Response(orjson.dumps(data), media_type=MEDIA)


def _downloads(ask: Ask, wanted: dict[str, int]) -> list[dict[str, Any]]:
    objects = []
    with ask.hub.database.read() as connection:
        there = held_here(connection, ask.repo.id, wanted)
        for oid, size in wanted.items():
            try:
                file = _file(ask, connection, oid, there.get(oid), ask.right)
            except HubError as error:
                objects.append(_refusal(oid, size, lfs.Refused(error.status, error.message)))
                continue
            href = file.link(oid, lfs.lifetime(ask.hub, size))
            href = href or _address(ask, "get", f"/{oid}", oid, size=size)
            objects.append(_object(oid, file.size, {"download": {"href": href}}))
    return objects


def _file(ask: Ask, connection: Connection, oid: str, size: int | None, right: Right) -> Delivery:
    """An object of `size` bytes (None: the repository does not hold it). Raises `HubError`."""
    if size is None:
        raise HubError(404, "The repository has no such object")
    return deliver(ask.hub, connection, "", Entry("lfs", oid, size, oid), right)


def _uploads(ask: Ask, wanted: dict[str, int], may_split: bool) -> list[dict[str, Any]]:
    missing = lfs.missing(ask.hub, ask.caller, ask.repo, wanted)
    objects = []
    for oid, size in wanted.items():
        refused = missing.get(oid)
        if oid not in missing:
            objects.append(_object(oid, size, None))
        elif refused is not None:
            objects.append(_refusal(oid, size, refused))
        else:
            split = may_split and size > ask.hub.settings.multipart_above
            upload = _in_parts(ask, oid, size) if split else _whole(ask, oid, size)
            verify = {"href": _address(ask, "verify", f"/{oid}/{size}", oid, size, size=size)}
            objects.append(_object(oid, size, {"upload": upload, "verify": verify}))
    return objects


def _whole(ask: Ask, oid: str, size: int) -> dict[str, Any]:
    return {"href": _address(ask, "put", f"/{oid}/{size}", oid, size, size=size)}


def _in_parts(ask: Ask, oid: str, size: int) -> dict[str, Any]:
    part_size = multipart.part_size_for(ask.hub, size)
    about = (oid, size, part_size)
    path = f"/{oid}/{size}/{part_size}"
    header = {"chunk_size": str(part_size)}
    part = _address(ask, "part", path + "/{}", *about, size=size)
    for number in range(1, -(-size // part_size) + 1):
        header[f"{number:05d}"] = part.replace("{}", str(number), 1)
    return {"href": _address(ask, "complete", path, *about, size=size), "header": header}


def _object(oid: str, size: int, actions: dict[str, Any] | None) -> dict[str, Any]:
    found = {"oid": oid, "size": size, "authenticated": True}
    return found | ({"actions": actions} if actions else {})


def _refusal(oid: str, size: int, refused: lfs.Refused) -> dict[str, Any]:
    return {
        "oid": oid,
        "size": size,
        "error": {"code": refused.status, "message": refused.message},
    }


def _address(ask: Ask, kind: str, path: str, *about: object, size: int) -> str:
    signature = lfs.sign(ask.hub, f"lfs-{kind}", ask.repo, *about, size=size)
    return f"{ask.base}/_lfs/{kind}/{ask.repo.id}{path}?signature={quote(signature)}"


def _signed(ask: Ask, kind: str, *about: object) -> Any:
    signature = ask.query("signature")
    return lfs.signed_repo(ask.hub, signature, f"lfs-{kind}", ask.value("id"), *about)


def _number(ask: Ask, name: str) -> int:
    text = ask.value(name)
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise bad_request(f"{name} {text[:40]} is no number")
    return int(text)


def get_object(ask: Ask) -> Response:
    """The bytes of one object."""
    oid = ask.value("oid")
    repo = _signed(ask, "get", oid)
    with ask.hub.database.read() as connection:
        size = held_here(connection, repo.id, [oid]).get(oid)
        file = _file(ask, connection, oid, size, Right.OWN)  # the batch has seen who asks
    headers = {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"}
    return ranges.respond(ask.request, file.size, headers, "application/octet-stream", file.read)


async def put_object(ask: Ask) -> Response:
    """One object's bytes, all in one request."""
    oid, size = ask.value("oid"), _number(ask, "size")
    repo = await run_in_threadpool(_signed, ask, "put", oid, size)
    with ask.hub.staged() as staged:
        await receive(ask.request.stream(), staged.write, size)

        def keep() -> None:
            staged.expect(sha256=oid, size=size)
            keep_upload(ask.hub, repo.id, staged)

        await run_in_threadpool(keep)
    return Response()


def _plan(ask: Ask, kind: str) -> multipart.Plan:
    oid, size, part_size = ask.value("oid"), _number(ask, "size"), _number(ask, "part_size")
    repo = _signed(ask, kind, oid, size, part_size)
    return multipart.Plan(repo.id, oid, size, part_size)


async def put_part(ask: Ask) -> Response:
    """One part of an object."""
    plan = await run_in_threadpool(_plan, ask, "part")
    part = await run_in_threadpool(multipart.Part, ask.hub, plan, _number(ask, "number"))
    with part:
        await receive(ask.request.stream(), part.write, plan.part_size)
        etag = await run_in_threadpool(part.keep)
    return Response(headers={"ETag": etag})


def complete(ask: Ask) -> Response:
    """All parts have been sent. Asked once more, it is done already."""
    plan = _plan(ask, "complete")
    with ask.hub.database.read() as connection:
        there = plan.sha256 in held_here(connection, plan.repo_id, [plan.sha256])
    if not there:
        with multipart.assembled(ask.hub, plan) as file:
            keep_upload(ask.hub, plan.repo_id, file)
    return Response(orjson.dumps({"oid": plan.sha256, "size": plan.size}), media_type=MEDIA)


def verify(ask: Ask) -> Response:
    """Whether an object arrived."""
    oid, size = ask.value("oid"), _number(ask, "size")
    repo = _signed(ask, "verify", oid, size)
    with ask.hub.database.read() as connection:
        if held_here(connection, repo.id, [oid]).get(oid) != size:
            raise HubError(404, "The object did not arrive: send it again")
    return Response(orjson.dumps({}), media_type=MEDIA)


def no_locks(ask: Ask) -> Response:
    """Files cannot be locked here; git-lfs takes a 404 for that and goes on."""
    line = "This hub has no file locks"
    raise HubError(404, line, extra={"message": line})


BASE = "/{prefix}/{repo}.git/info/lfs"
ROUTES = [
    Route("POST", f"{BASE}/objects/batch", Need.INSIDE, batch, takes=Batch),
    Route("GET", f"{BASE}/locks", Right.CONTENT, no_locks),
    Route("POST", f"{BASE}/locks", Right.CONTENT, no_locks),
    Route("POST", f"{BASE}/locks/verify", Right.CONTENT, no_locks),
    Route("GET", "/_lfs/get/{id}/{oid}", Need.SIGNED, get_object),
    Route("PUT", "/_lfs/put/{id}/{oid}/{size}", Need.SIGNED, put_object),
    Route("PUT", "/_lfs/part/{id}/{oid}/{size}/{part_size}/{number}", Need.SIGNED, put_part),
    Route("POST", "/_lfs/complete/{id}/{oid}/{size}/{part_size}", Need.SIGNED, complete),
    Route("POST", "/_lfs/verify/{id}/{oid}/{size}", Need.SIGNED, verify),
]
