"""Xet: tokens for a repository's chunk store, and the store itself, of which clients only write
(https://huggingface.co/docs/xet/api). Downloads are plain HTTP: no file tells a Xet hash."""

from __future__ import annotations

import re
import time
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api.asking import Ask, answer
from llmos.hub.api.permission import need_right
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import HubError, bad_request
from llmos.hub.uploads import room
from llmos.hub.uploads.receiving import receive
from llmos.hub.uploads.xet import shards, tokens
from llmos.hub.uploads.xet.format import LARGEST_PACKED
from llmos.hub.uploads.xet.rebuilding import take_shard
from llmos.hub.uploads.xet.xorbs import Receiver

HASH = re.compile(r"[0-9a-f]{64}")
MOST_TELEMETRY = 1 << 20  # bytes


def write_token(ask: Ask) -> Response:
    """A token to send chunks with. To a branch only who may write sends; to a pull request (an open
    one, or with create_pr one that is about to be) whoever may propose."""
    if not ask.query_true("create_pr") and not ask.value("rev").startswith("refs/pr/"):
        need_right(ask, Right.WRITE)
    room.check_open(ask.repo)
    return _token(ask, "write")


def read_token(ask: Ask) -> Response:
    """A token to fetch chunks with; as no file tells a Xet hash, there is nothing to fetch."""
    return _token(ask, "read")


def _token(ask: Ask, action: str) -> Response:
    seconds = ask.hub.settings.link_lifetime
    store, token = tokens.make_token(ask.hub, ask.repo, action, seconds=seconds)
    expires = int(time.time()) + seconds
    url = f"{ask.base}/xet/{store}"
    headers = {
        "X-Xet-Cas-Url": url,
        "X-Xet-Access-Token": token,
        "X-Xet-Token-Expiration": str(expires),
    }
    return answer({"casUrl": url, "exp": expires, "accessToken": token}, headers=headers)


def _writable(ask: Ask) -> Any:
    """The repository that the request's token lets its bearer write to."""
    scheme, _, token = ask.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise HubError(401, "The chunk store needs the token that was given for it")
    repo = tokens.check_token(ask.hub, ask.value("store"), token, "write")
    room.check_open(repo)
    with ask.hub.database.read() as connection:
        room.check_chunks(ask.hub, connection, repo)
    return repo


async def put_xorb(ask: Ask) -> Response:
    """Chunks, in one xorb."""
    repo = await run_in_threadpool(_writable, ask)
    name = ask.value("hash")
    if not HASH.fullmatch(name):
        raise bad_request("a xorb's hash has 64 hexadecimal digits")
    with Receiver(ask.hub, repo.id, name) as receiver:
        await receive(ask.request.stream(), receiver.write, LARGEST_PACKED)
        inserted = await run_in_threadpool(receiver.keep)
    return answer({"was_inserted": inserted})


async def put_shard(ask: Ask) -> Response:
    """Which chunks make which files; they are built before the answer."""
    repo = await run_in_threadpool(_writable, ask)
    with ask.hub.staged() as staged:
        await receive(ask.request.stream(), staged.write, shards.LARGEST)
        built = await run_in_threadpool(take_shard, ask.hub, repo, staged)
    return answer({"result": 1 if built else 0})


async def telemetry(ask: Ask) -> Response:
    """What clients tell about themselves; it is not kept."""
    if ask.match.route.needs == Need.SIGNED:
        await run_in_threadpool(_writable, ask)
    await receive(ask.request.stream(), len, MOST_TELEMETRY)
    return answer({})


ROUTES = [
    Route("GET", "/api/{kind}/{repo}/xet-write-token/{rev}", Right.PROPOSE, write_token),
    Route("GET", "/api/{kind}/{repo}/xet-read-token/{rev}", Right.CONTENT, read_token),
    Route("POST", "/xet/{store}/v1/xorbs/default/{hash}", Need.SIGNED, put_xorb),
    Route("POST", "/xet/{store}/v1/shards", Need.SIGNED, put_shard),
    Route("POST", "/xet/{store}/shards", Need.SIGNED, put_shard),
    Route("POST", "/xet/{store}/v1/telemetry", Need.SIGNED, telemetry),
    Route("POST", "/v1/telemetry", Need.PUBLIC, telemetry),
]
