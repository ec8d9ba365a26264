"""Xet: tokens for a repository's chunk store, and what clients write there
(https://huggingface.co/docs/xet/api)."""

from __future__ import annotations

import re
import time
from typing import Any

from sqlalchemy import Row
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
READING = 900  # seconds that a token to read is good for: rights may be taken away meanwhile


def write_token(ask: Ask) -> Response:
    """A token to send chunks with. To a branch only who may write sends; to a pull request (an open
    one, or with create_pr one that is about to be) whoever may propose."""
    if not ask.query_true("create_pr") and not ask.value("rev").startswith("refs/pr/"):
        need_right(ask, Right.WRITE)
    room.check_open(ask.repo)
    return _token(ask, "write", ask.hub.settings.link_lifetime)


def read_token(ask: Ask) -> Response:
    """A token to fetch chunks with."""
    return _token(ask, "read", min(READING, ask.hub.settings.link_lifetime))


def _token(ask: Ask, action: str, seconds: int) -> Response:
    store, token = tokens.make_token(ask.hub, ask.repo, action, seconds=seconds)
    expires = int(time.time()) + seconds
    url = f"{ask.base}/xet/{store}"
    headers = {
        "X-Xet-Cas-Url": url,
        "X-Xet-Access-Token": token,
        "X-Xet-Token-Expiration": str(expires),
    }
    return answer({"casUrl": url, "exp": expires, "accessToken": token}, headers=headers)


def repo_of(ask: Ask, action: str) -> Row[Any]:
    """The repository that the request's token lets its bearer `action` (read or write). Raises
    `HubError` 401, 404."""
    scheme, _, token = ask.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise HubError(401, "The chunk store needs the token that was given for it")
    return tokens.check_token(ask.hub, ask.value("store"), token, action)


def _writable(ask: Ask) -> Row[Any]:
    """The repository that the request's token lets its bearer write to, if it takes chunks."""
    repo = repo_of(ask, "write")
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
