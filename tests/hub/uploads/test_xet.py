"""The Xet chunk store against senders that lie."""

from __future__ import annotations

import hashlib
import random
import struct
import time
from typing import Any

import lz4.frame
import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from llmos.hub.database.tables import repo_blobs, xorbs
from llmos.hub.errors import HubError
from llmos.hub.uploads.xet import format as xorb_format
from llmos.hub.uploads.xet import hashes, shards
from llmos.hub.uploads.xet.xorbs import forget_old_xorbs

CHUNKS = [random.Random(seed).randbytes(9_000 + seed) for seed in range(40)]


def _root(leaves: list[tuple[bytes, int]]) -> bytes:
    """The tree as the specification tells it, level by level."""
    nodes = leaves
    while len(nodes) > 1:
        parents = []
        while nodes:
            cut = min(9, len(nodes))
            for at in range(2, cut):
                if int.from_bytes(nodes[at][0][24:], "little") % 4 == 0:
                    cut = at + 1
                    break
            part, nodes = nodes[:cut], nodes[cut:]
            lines = "".join(f"{hashes.to_text(node)} : {size}\n" for node, size in part)
            joined = blake3(lines.encode(), key=hashes.NODE_KEY).digest()
            parents.append((joined, sum(size for _, size in part)))
        nodes = parents
    return nodes[0][0] if nodes else bytes(32)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 9, 10, 11, 100, 3000])
def test_the_tree_is_that_of_the_specification(count: int) -> None:
    draw = random.Random(count)
    for share in (0, 1, 3):  # how often a hash ends a group: always, sometimes
        leaves = []
        for _ in range(count):
            raw = bytearray(draw.randbytes(32))
            raw[24] = raw[24] & 0xFC if share == 0 else raw[24] | share
            leaves.append((bytes(raw), draw.randrange(1, 130_000)))
        tree = hashes.MerkleTree()
        for leaf in leaves:
            tree.add(*leaf)
        assert tree.xorb_hash() == _root(leaves)


def test_published_hashes() -> None:
    # of xet-core's own tests: three leaves, their sizes, the root and the file's hash
    leaves = [
        ("cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6", 100),
        ("c3e67584b5c4fc2a89837ec39e40f2c8a6bb0b2987ac94cd4b31e5fbdd210a72", 200),
        ("0d2beb91b9196929a5ddec9f6e306924ddf4a24268e3e59fd8464738d525af37", 300),
    ]
    both = hashes.MerkleTree(), hashes.MerkleTree()
    for tree in both:
        for text, size in leaves:
            assert hashes.to_text(hashes.from_text(text)) == text
            tree.add(hashes.from_text(text), size)
    root = "71ec1275fca074724e2dd666921b3277c7cee603e4d025bcab2d4050015be2bc"
    file = "54e55dccc6653c612bdb5576c5d3cb34bb31bc4e100248abccf4c908b3ef7715"
    assert hashes.to_text(both[0].xorb_hash()) == root
    assert hashes.to_text(both[1].file_hash()) == file


def _head(packed: int, scheme: int, size: int, version: int = 0) -> bytes:
    return (
        bytes([version])
        + packed.to_bytes(3, "little")
        + bytes([scheme])
        + size.to_bytes(3, "little")
    )


def _pack(chunk: bytes, scheme: int) -> bytes:
    data = chunk
    if scheme == 2:
        data = b"".join(chunk[place::4] for place in range(4))
    if scheme:
        data = lz4.frame.compress(data)
    return _head(len(data), scheme, len(chunk)) + data


def _xorb(chunks: list[bytes], scheme: int = 0) -> tuple[str, bytes]:
    leaves = [(hashes.chunk_hash(chunk), len(chunk)) for chunk in chunks]
    return hashes.to_text(_root(leaves)), b"".join(_pack(chunk, scheme) for chunk in chunks)


def _shard(terms: list[tuple[str, int, int]], chunks: list[bytes], **wrong: Any) -> bytes:
    """A shard with one file of `terms` (xorb, start, stop) whose chunks are `chunks`."""
    leaves = [(hashes.chunk_hash(chunk), len(chunk)) for chunk in chunks]
    name = blake3(_root(leaves), key=bytes(32)).digest()
    body = bytes(32) + struct.pack("<QQ", wrong.get("version", 2), 0)
    flags = wrong.get("flags", shards.WITH_PROOFS | shards.WITH_SHA256)
    count = wrong.get("count", len(terms))
    body += struct.pack("<32sII8x", wrong.get("name", name), flags, count)
    proofs, at = b"", 0
    for xorb, start, stop in terms:
        part = leaves[at : at + stop - start]
        at += stop - start
        size = wrong.get("size", sum(size for _, size in part))
        body += struct.pack("<32sIIII", hashes.from_text(xorb), 0, size, start, stop)
        proof = wrong.get("proof", hashes.range_hash(b"".join(leaf for leaf, _ in part)))
        proofs += proof + bytes(16)
    sha256 = wrong.get("sha256", hashlib.sha256(b"".join(chunks)).hexdigest())
    if flags & shards.WITH_PROOFS:
        body += proofs
    if flags & shards.WITH_SHA256:
        body += shards.sha256_entry(sha256)
    return body + b"\xff" * 32 + bytes(16) if wrong.get("end", True) else body


class Store:
    """The chunk store of a repository, as `user` may use it."""

    def __init__(self, world, repo: str = "acme/m", user: str = "alice", right="write") -> None:
        self.world = world
        answer = world.ask("GET", f"/api/models/{repo}/xet-{right}-token/main", user)
        assert answer.status_code == 200, answer.text
        data = answer.json()
        assert answer.headers["x-xet-cas-url"] == data["casUrl"]
        assert answer.headers["x-xet-access-token"] == data["accessToken"]
        assert int(answer.headers["x-xet-token-expiration"]) == data["exp"] > time.time()
        self.address, self.token = data["casUrl"], data["accessToken"]

    def post(self, path: str, body: bytes, token: str | None = None) -> Any:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return self.world.client.post(f"{self.address}{path}", content=body, headers=headers)

    def xorb(self, name: str, body: bytes, **more: Any) -> Any:
        return self.post(f"/v1/xorbs/default/{name}", body, **more)

    def shard(self, body: bytes, **more: Any) -> Any:
        return self.post("/v1/shards", body, **more)


def _make(world, name: str = "m", user: str = "alice", org: str | None = "acme", **more) -> None:
    body = {"name": name, "organization": org, **more}
    assert world.ask("POST", "/api/repos/create", user, json=body).status_code == 200


@pytest.fixture
def store(world) -> Store:
    _make(world)
    return Store(world)


def _blobs(world) -> set[str]:
    with world.hub.database.read() as connection:
        return set(connection.scalars(select(repo_blobs.c.sha256)))


@pytest.mark.parametrize("scheme", [0, 1, 2])
@pytest.mark.parametrize("footer", [b"", b"XETBLOB\0" + bytes(500)])
def test_a_file_is_built_of_its_chunks(world, store, scheme, footer) -> None:
    first, one = _xorb(CHUNKS[:10], scheme)
    second, two = _xorb(CHUNKS[10:], scheme)
    assert store.xorb(first, one + footer).json() == {"was_inserted": True}
    assert store.xorb(first, one).json() == {"was_inserted": False}
    assert store.xorb(second, two).status_code == 200
    content = [*CHUNKS[3:8], *CHUNKS[10:], *CHUNKS[:1]]
    terms = [(first, 3, 8), (second, 0, 30), (first, 0, 1)]
    assert store.shard(_shard(terms, content)).json() == {"result": 1}
    assert store.shard(_shard(terms, content)).json() == {"result": 0}
    sha256 = hashlib.sha256(b"".join(content)).hexdigest()
    assert b"".join(world.hub.blobs.read(sha256)) == b"".join(content)
    assert not list(world.hub.settings.temporary.glob("up-*"))


def test_xorbs_that_lie(world, store) -> None:
    name, body = _xorb(CHUNKS[:3])
    good = CHUNKS[0]
    frame = lz4.frame.compress(good)
    bodies = {
        "another name": (hashes.to_text(bytes(32)), body),
        "changed": (name, body[:-1] + bytes([body[-1] ^ 1])),
        "cut off": (name, body[:-1]),
        "cut in a head": (name, body + b"\0\1"),
        "empty": (name, b""),
        "noise": (name, random.Random(1).randbytes(5000)),
        "scheme": (name, _head(len(good), 3, len(good)) + good),
        "version": (name, _head(len(good), 0, len(good), 1) + good),
        "size of 0": (name, _head(0, 0, 0)),
        "a bomb": (name, _head(len(x := lz4.frame.compress(bytes(16_000_000))), 1, 1000) + x),
        "too large a chunk": (name, _head(5, 0, 131_073) + bytes(5)),
        "shorter": (name, _head(len(frame), 1, len(good) + 1) + frame),
        "two frames": (name, _head(2 * len(frame), 1, len(good)) + frame + frame),
        "half a frame": (name, _head(len(frame) - 9, 1, len(good)) + frame[:-9]),
    }
    for what, (called, sent) in bodies.items():
        assert store.xorb(called, sent).status_code == 400, what
    for called in ("x", name.upper(), name + "0", "..%2f" * 10):
        assert store.xorb(called, body).status_code in (400, 404), called
    with world.hub.database.read() as connection:
        assert connection.execute(select(xorbs)).all() == []
    assert not [one for one in (world.hub.settings.folder / "xorbs").rglob("*") if one.is_file()]
    assert not list(world.hub.settings.temporary.glob("up-*"))


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    class Watched:
        def __init__(self) -> None:
            self.inner = real()

        def decompress(self, data: bytes, *limit: int) -> bytes:
            plain = self.inner.decompress(data, *limit)
            sizes.append(len(plain))
            return plain

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    real = lz4.frame.LZ4FrameDecompressor
    monkeypatch.setattr(lz4.frame, "LZ4FrameDecompressor", Watched)
    with pytest.raises(HubError):
        xorb_format.unpack(1, lz4.frame.compress(bytes(10_000_000)), 1000)
    assert sizes and max(sizes) <= 1001


def test_a_bomb_of_many_chunks_is_stopped() -> None:
    class Nowhere:
        def write(self, data: bytes) -> None:
            assert len(data) <= xorb_format.LARGEST_CHUNK

    packed = _pack(bytes(xorb_format.LARGEST_CHUNK), 1)
    unpacker = xorb_format.Unpacker(Nowhere())
    with pytest.raises(HubError):
        for _ in range(2000):
            unpacker.feed(packed)
    assert unpacker.size <= xorb_format.LARGEST_XORB + xorb_format.LARGEST_CHUNK


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=20), st.data())
def test_it_does_not_matter_how_a_xorb_is_cut(chunks: list[bytes], data: st.DataObject) -> None:
    class Kept(list):
        write = list.append

    name, body = _xorb(chunks, data.draw(st.sampled_from([0, 1, 2])))
    kept = Kept()
    unpacker = xorb_format.Unpacker(kept)
    while body:
        cut = data.draw(st.integers(1, len(body)))
        unpacker.feed(body[:cut])
        body = body[cut:]
    assert hashes.to_text(unpacker.finish()) == name
    assert b"".join(kept) == b"".join(chunks)


def test_shards_that_lie(world, store) -> None:
    name, body = _xorb(CHUNKS[:10])
    store.xorb(name, body)
    some = CHUNKS[2:5]
    terms = [(name, 2, 5)]
    good = _shard(terms, some)
    lies = {
        "sha256": _shard(terms, some, sha256="0" * 64),
        "file hash": _shard(terms, some, name=bytes(32)),
        "proof": _shard(terms, some, proof=bytes(32)),
        "size": _shard(terms, some, size=5),
        "huge size": _shard(terms, some, size=0xFFFFFFFF),
        "huge count": _shard(terms, some, count=0xFFFFFFFF),
        "other chunks": _shard([(name, 3, 6)], some),
        "beyond the end": _shard([(name, 8, 11)], some),
        "far beyond": _shard([(name, 0, 0x7FFFFFFF)], some, size=1),
        "backwards": _shard([(name, 5, 2)], some),
        "nothing": _shard([(name, 2, 2)], some),
        "unknown xorb": _shard([(hashes.to_text(bytes(31) + b"x"), 2, 5)], some),
        "no sha256": _shard(terms, some, flags=shards.WITH_PROOFS),
        "version": _shard(terms, some, version=3),
        "no end": _shard(terms, some, end=False),
        "cut off": good[:150],
        "empty": b"",
        "noise": random.Random(1).randbytes(3000),
    }
    for what, shard in lies.items():
        assert store.shard(shard).status_code == 400, what
    assert _blobs(world) == _blobs(world) and len(_blobs(world)) == 1  # .gitattributes
    assert not list(world.hub.settings.temporary.glob("up-*"))
    assert store.shard(good).status_code == 200
    assert store.shard(_shard(terms, some, flags=shards.WITH_SHA256)).status_code == 200


def test_chunks_of_another_repository_stay_there(world, store) -> None:
    _make(world, "secret", private=True)
    name, body = _xorb(CHUNKS[:3])
    assert Store(world, "acme/secret").xorb(name, body).status_code == 200
    _make(world, "mine", "bob", None)
    mine = Store(world, "bob/mine", "bob")
    shard = _shard([(name, 0, 3)], CHUNKS[:3])
    assert mine.shard(shard).status_code == 400
    assert Store(world, "bob/mine", "bob").address == mine.address  # as if it were nowhere
    assert mine.xorb(name, body).json() == {"was_inserted": True}
    assert mine.shard(shard).status_code == 200


def test_a_token_is_for_one_repository_and_one_action(world, store) -> None:
    name, body = _xorb(CHUNKS[:3])
    _make(world, "other")
    other = Store(world, "acme/other")
    reader = Store(world, right="read")
    for token in (other.token, reader.token, "x", world.tokens["alice"], store.token[:-1] + "x"):
        assert store.xorb(name, body, token=token).status_code == 401
        assert store.shard(b"", token=token).status_code == 401
    bare = world.client.post(f"{store.address}/v1/xorbs/default/{name}", content=body)
    assert bare.status_code == 401
    assert (
        world.ask(
            "DELETE", "/api/repos/delete", "alice", json={"name": "m", "organization": "acme"}
        ).status_code
        == 200
    )
    assert store.xorb(name, body).status_code == 404
    _make(world)
    assert store.xorb(name, body).status_code == 404
    assert Store(world).address != store.address


def test_who_gets_a_token(world, store) -> None:
    _make(world, "secret", private=True)

    def status(user, repo="acme/m", kind="write", more="", rev="main"):
        path = f"/api/models/{repo}/xet-{kind}-token/{rev}{more}"
        return world.ask("GET", path, user).status_code

    assert status(None) == 401
    assert status("bob") == 403
    assert status("bob", more="?create_pr=1") == 200
    assert status("bob", rev="refs%2Fpr%2F1") == 200
    assert status(None, kind="read") == 200
    assert status("bob", "acme/secret") == status("bob", "acme/none") == 404
    _make(world, "home", sharing="federated")
    assert status("alice", "acme/home") in (403, 200)


def test_old_chunks_go_and_clients_are_told(world, store) -> None:
    name, body = _xorb(CHUNKS[:3])
    store.xorb(name, body)
    assert forget_old_xorbs(world.hub, 0) == 0
    assert Store(world).address == store.address
    assert forget_old_xorbs(world.hub, time.time_ns() // 1_000_000 + 1000) > len(body) - 100
    fresh = Store(world)
    assert fresh.address != store.address
    assert fresh.shard(_shard([(name, 0, 3)], CHUNKS[:3])).status_code == 400
    assert fresh.xorb(name, body).status_code == 200
    assert fresh.shard(_shard([(name, 0, 3)], CHUNKS[:3])).status_code == 200


@pytest.mark.parametrize("damage", ["gone", "short", "changed"])
def test_a_damaged_xorb_is_asked_for_again(world, store, damage) -> None:
    name, body = _xorb(CHUNKS[:3])
    store.xorb(name, body)
    place = next(p for p in (world.hub.settings.folder / "xorbs").rglob(name))
    content = place.read_bytes()
    if damage == "gone":
        place.unlink()
    else:
        place.write_bytes(content[:-5] if damage == "short" else b"x" + content[1:])
    shard = _shard([(name, 0, 3)], CHUNKS[:3])
    assert store.shard(shard).status_code == 400
    fresh = Store(world)
    assert fresh.address != store.address  # the client forgets what it sent
    assert fresh.xorb(name, body).status_code == 200
    assert fresh.shard(shard).status_code == 200


def test_limits_of_size(world, store) -> None:
    from dataclasses import replace

    name, body = _xorb(CHUNKS[:10])
    store.xorb(name, body)
    settings = world.hub.settings
    object.__setattr__(world.hub, "settings", replace(settings, file_limit=10_000))
    assert store.shard(_shard([(name, 0, 3)], CHUNKS[:3])).status_code == 413
    object.__setattr__(world.hub, "settings", replace(settings, quota=20_000))
    assert store.shard(_shard([(name, 0, 3)], CHUNKS[:3])).status_code == 403
    object.__setattr__(world.hub, "settings", settings)
    assert store.shard(_shard([(name, 0, 3)], CHUNKS[:3])).status_code == 200


def test_what_is_not_offered(world, store) -> None:
    for path in ("/v2/shards", "/v1/xorb-grants", "/v1/chunks/default-merkledb/" + "0" * 64):
        assert store.post(path, b"").status_code == 404
    assert store.post("/v1/telemetry", b"{}").status_code == 200
    assert world.client.post("/v1/telemetry", content=b"{}").status_code == 200


def test_bytes_in_groups_of_four() -> None:
    for size in range(1, 30):
        plain = np.arange(size, dtype=np.uint8).tobytes()
        packed = lz4.frame.compress(b"".join(plain[place::4] for place in range(4)))
        assert xorb_format.unpack(2, packed, size) == plain
