"""A hub on a disk that is really full: a small file system of its own, filled to the last byte at
the worst moment. 507 each time, the hub lives, the repositories are as they were, and with room
again the same request works."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2 as httpx
import pytest
from blake3 import blake3

from llmos.hub.errors import HubError
from llmos.hub.hub import Hub
from llmos.hub.repos.counting import EVERY
from llmos.hub.settings import HubSettings
from llmos.hub.upkeep.checking import check
from llmos.hub.upkeep.collection import collect
from llmos.hub.uploads.room import SPARE
from llmos.hub.uploads.xet import hashes, shards

pytestmark = pytest.mark.system
PART = 5 << 20  # bytes; the least that a hub takes
CONTENT = random.Random(5).randbytes(2 * PART + 12_345)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BEFORE = b'{"model_type": "t5"}'
SETTINGS = {
    "LLMOS_HUB_MULTIPART_ABOVE": str(PART),
    "LLMOS_HUB_PART_SIZE": str(PART),
    "LLMOS_HUB_LOG": "warning",
}
COMMIT = "/api/models/root/m/commit/main"


class Client:
    """What a client sends to a hub, piece by piece."""

    def __init__(self, hub: Any) -> None:
        address = hub.ready()
        token = re.search(r"HF_TOKEN=(\S+)", hub.said)
        assert token
        self.hub = hub
        self.http = httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token[1]}"})

    def create(self, name: str) -> Any:
        return self.http.post("/api/repos/create", json={"name": name})

    def head(self) -> str:
        return str(self.http.get("/api/models/root/m").json()["sha"])

    def commit(self, *operations: dict[str, Any]) -> Any:
        lines = [{"key": "header", "value": {"summary": "x"}}, *operations]
        body = "\n".join(json.dumps(line) for line in lines)
        return self.http.post(COMMIT, content=body)

    def commit_large(self, path: str) -> Any:
        value = {"path": path, "algo": "sha256", "oid": SHA256, "size": len(CONTENT)}
        return self.commit({"key": "lfsFile", "value": value})

    def batch(self, *transfers: str) -> Any:
        objects = [{"oid": SHA256, "size": len(CONTENT)}]
        body = {"operation": "upload", "objects": objects, "transfers": list(transfers)}
        return self.http.post("/root/m.git/info/lfs/objects/batch", json=body)

    def actions(self, *transfers: str) -> dict[str, Any]:
        answer = self.batch("basic", *transfers)
        assert answer.status_code == 200, answer.text
        actions: dict[str, Any] = answer.json()["objects"][0]["actions"]["upload"]
        return actions

    def chunk_store(self) -> tuple[str, dict[str, str]]:
        given = self.http.get("/api/models/root/m/xet-write-token/main").json()
        return given["casUrl"], {"Authorization": f"Bearer {given['accessToken']}"}


@pytest.fixture
def client(start: Callable[..., Any], disk: Any) -> Iterator[Client]:
    """A hub on the disk, with the repository root/m and a file in it."""
    client = Client(start(folder=disk.path / "hub", **SETTINGS))
    client.create("m")
    assert client.commit(_inline("config.json", BEFORE)).status_code == 200
    yield client
    code, _, log = client.hub.end(signal.SIGTERM)
    assert code == 0 and "Traceback" not in log
    opened = Hub(HubSettings(folder=disk.path / "hub"))
    report = check(opened)
    opened.close()
    assert (report.damaged, report.repaired) == ([], [])
    assert not list((disk.path / "hub" / "tmp").glob("up-*"))


def _inline(path: str, content: bytes) -> dict[str, Any]:
    text = base64.b64encode(content).decode()
    return {"key": "file", "value": {"path": path, "content": text, "encoding": "base64"}}


Send = Callable[[], Any]


def _small(client: Client) -> Send:
    return lambda: client.commit(_inline("a.bin", CONTENT[:PART]))


def _whole(client: Client) -> Send:
    put = client.actions()["href"]
    return lambda: client.http.put(put, content=CONTENT)


def _second_part(client: Client) -> Send:
    parts = client.actions("multipart")["header"]
    assert client.http.put(parts["00001"], content=CONTENT[:PART]).status_code == 200
    return lambda: client.http.put(parts["00002"], content=CONTENT[PART : 2 * PART])


def _xorb(client: Client, content: bytes = CONTENT) -> tuple[Send, Send]:
    """How the chunks are sent, and the shard that makes a file of them."""
    chunks = [content[at : at + 100_000] for at in range(0, len(content), 100_000)]
    tree = hashes.MerkleTree()
    leaves = [hashes.chunk_hash(chunk) for chunk in chunks]
    for leaf, chunk in zip(leaves, chunks, strict=True):
        tree.add(leaf, len(chunk))
    size = [len(chunk).to_bytes(3, "little") for chunk in chunks]
    body = b"".join(b"\0" + n + b"\0" + n + chunk for n, chunk in zip(size, chunks, strict=True))
    root = tree.xorb_hash()
    name = blake3(root, key=bytes(32)).digest()
    count = len(chunks).to_bytes(4, "little")
    shard = bytes(32) + (2).to_bytes(8, "little") + bytes(8)
    shard += name + shards.WITH_SHA256.to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(8)
    shard += root + bytes(4) + len(content).to_bytes(4, "little") + bytes(4) + count
    shard += shards.sha256_entry(hashlib.sha256(content).hexdigest()) + b"\xff" * 32 + bytes(16)
    store, signed = client.chunk_store()
    address = f"{store}/v1/xorbs/default/{hashes.to_text(root)}"
    return (
        lambda: client.http.post(address, content=body, headers=signed),
        lambda: client.http.post(f"{store}/v1/shards", content=shard, headers=signed),
    )


def _chunks(client: Client) -> Send:
    return _xorb(client)[0]


def _shard(client: Client) -> Send:
    send_chunks, send_shard = _xorb(client)
    assert send_chunks().status_code == 200
    return send_shard


WAYS = {
    "a commit": _small,
    "a large file": _whole,
    "a part": _second_part,
    "chunks": _chunks,
    "a file of chunks": _shard,
}


@pytest.mark.parametrize("way", WAYS)
def test_what_finds_no_room_is_507_and_works_when_there_is(
    client: Client, disk: Any, way: str
) -> None:
    send = WAYS[way](client)
    before = client.head()
    disk.fill()
    for _ in range(2):
        answer = send()
        assert answer.status_code == 507, answer.text
        assert "disk" in answer.json()["error"] and "nothing was changed" in answer.json()["error"]
    assert client.head() == before
    assert client.http.get("/root/m/resolve/main/config.json").content == BEFORE
    assert client.http.get("/health").status_code == 200
    assert client.http.get("/health/ready").status_code == 503
    disk.free()
    assert client.http.get("/health/ready").status_code == 200
    answer = send()
    assert answer.status_code == 200, answer.text


def test_a_file_in_parts_survives_a_full_disk_at_every_step(client: Client, disk: Any) -> None:
    upload = client.actions("multipart")
    for number in range(1, 4):
        part = CONTENT[(number - 1) * PART : number * PART]
        address = upload["header"][f"{number:05d}"]
        disk.fill()
        assert client.http.put(address, content=part).status_code == 507
        disk.free()
        assert client.http.put(address, content=part).status_code == 200
    disk.fill()
    assert client.http.post(upload["href"]).status_code in (200, 507)  # it only changes its name
    disk.free()
    assert client.http.post(upload["href"]).status_code == 200
    assert client.commit_large("a.bin").status_code == 200
    assert client.http.get("/root/m/resolve/main/a.bin").content == CONTENT


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(client: Client, disk: Any) -> None:
    disk.fill(leave=SPARE + (1 << 20))
    assert client.batch("basic").status_code == 507
    assert client.commit(_inline("a.bin", CONTENT[:PART])).status_code == 507
    assert client.commit(_inline("a.bin", b"small")).status_code == 200


def test_the_database_finds_no_room(client: Client, disk: Any) -> None:
    disk.fill()
    codes, made = [], []
    for number in range(300):
        answer = client.create(f"r{number}")
        codes.append(answer.status_code)
        if answer.status_code == 200:
            made.append(f"root/r{number}")
        elif len(codes) - len(made) > 5:
            break
    assert set(codes) <= {200, 507} and 507 in codes
    listed = {one["id"] for one in client.http.get("/api/models?limit=1000").json()}
    assert listed == {"root/m", *made}
    assert client.http.get("/root/m/resolve/main/config.json").content == BEFORE
    disk.free()
    assert client.create("room-again").status_code == 200


def test_a_hub_that_is_killed_on_a_full_disk_starts_there(
    start: Callable[..., Any], client: Client, disk: Any
) -> None:
    send = _second_part(client)
    disk.fill()
    assert send().status_code == 507
    client.hub.end(signal.SIGKILL)
    client.hub = start(folder=disk.path / "hub", **SETTINGS)
    address = client.hub.ready()
    read = httpx.get(f"{address}/root/m/resolve/main/config.json")
    assert (read.status_code, read.content) == (200, BEFORE)


def test_collecting_makes_room(client: Client, disk: Any) -> None:
    other = random.Random(8).randbytes(PART)
    chunks, shard = _xorb(client, other)
    assert (chunks().status_code, shard().status_code) == (200, 200)  # of no commit
    hub = Hub(HubSettings(folder=disk.path / "hub"))  # as llmos hub gc does, beside the other
    disk.fill()
    with pytest.raises(HubError, match="disk is full"):
        collect(hub, grace=0)
    assert check(hub, rehash=False).damaged == []
    disk.free()
    disk.fill(leave=SPARE)  # which is as far as uploads fill it
    assert client.batch("basic").status_code == 507
    assert collect(hub, grace=0).bytes >= len(other)
    hub.close()


def test_readers_do_not_notice(client: Client, disk: Any) -> None:
    disk.fill()
    end = time.monotonic() + EVERY + 1  # so long that downloads are to be written down
    while time.monotonic() < end:
        answer = client.http.get("/root/m/resolve/main/config.json")
        assert (answer.status_code, answer.content) == (200, BEFORE)
        client.create(f"r{time.monotonic_ns()}")  # until the database has no room either
    assert client.http.get("/api/models/root/m").status_code == 200
