"""What a client sends to the Xet chunk store, built from the specification."""

from __future__ import annotations

import hashlib
import random
import struct
import time
from typing import Any

import lz4.frame
from blake3 import blake3

from llmos.hub.uploads.xet import hashes, shards

CHUNKS = [random.Random(seed).randbytes(9_000 + seed) for seed in range(40)]


def tree_root(leaves: list[tuple[bytes, int]]) -> bytes:
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


def head_of(packed: int, scheme: int, size: int, version: int = 0) -> bytes:
    return (
        bytes([version])
        + packed.to_bytes(3, "little")
        + bytes([scheme])
        + size.to_bytes(3, "little")
    )


def pack(chunk: bytes, scheme: int) -> bytes:
    data = chunk
    if scheme == 2:
        data = b"".join(chunk[place::4] for place in range(4))
    if scheme:
        data = lz4.frame.compress(data)
    return head_of(len(data), scheme, len(chunk)) + data


def make_xorb(chunks: list[bytes], scheme: int = 0) -> tuple[str, bytes]:
    leaves = [(hashes.chunk_hash(chunk), len(chunk)) for chunk in chunks]
    return hashes.to_text(tree_root(leaves)), b"".join(pack(chunk, scheme) for chunk in chunks)


def make_shard(terms: list[tuple[str, int, int]], chunks: list[bytes], **wrong: Any) -> bytes:
    """A shard with one file of `terms` (xorb, start, stop) whose chunks are `chunks`."""
    leaves = [(hashes.chunk_hash(chunk), len(chunk)) for chunk in chunks]
    name = blake3(tree_root(leaves), key=bytes(32)).digest()
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
