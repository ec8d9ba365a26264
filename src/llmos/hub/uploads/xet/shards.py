"""Shards: which chunks of which xorbs make which file (https://huggingface.co/docs/xet/shard).

Only the part about files is read; what a shard says of xorbs, the hub has seen for itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from llmos.hub.errors import bad_request
from llmos.hub.uploads.xet.hashes import from_text, to_text

LARGEST = 128 << 20  # bytes
HEADER = 48
ENTRY = 48
FILE = struct.Struct("<32sII8x")
TERM = np.dtype(
    [("xorb", "V32"), ("flags", "<u4"), ("size", "<u4"), ("start", "<u4"), ("stop", "<u4")]
)
PROOF = np.dtype([("hash", "V32"), ("unused", "V16")])
WITH_PROOFS = 1 << 31
WITH_SHA256 = 1 << 30
END = b"\xff" * 32
VERSION = 2


@dataclass(frozen=True, slots=True)
class ShardFile:
    """One file: `terms` are chunks start..stop of a xorb, `size` bytes together."""

    hash: bytes
    terms: np.ndarray[Any, Any]  # of TERM
    proofs: np.ndarray[Any, Any] | None  # of PROOF, one a term
    sha256: str

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return int(self.terms["size"].sum(dtype=np.uint64))


def read_shard(file: BinaryIO, size: int) -> Iterator[ShardFile]:
    """The files of a shard of `size` bytes. Raises `HubError` 400 where it makes no sense."""
    header = file.read(HEADER)
    if len(header) < HEADER or int.from_bytes(header[32:40], "little") != VERSION:
        raise bad_request(f"this is no shard of version {VERSION}")
    left = size - HEADER
    while True:
        name, flags, count = FILE.unpack(_take(file, FILE.size, left))
        left -= FILE.size
        if name == END:
            return
        parts = count * (2 if flags & WITH_PROOFS else 1) + (1 if flags & WITH_SHA256 else 0)
        if parts * ENTRY > left:
            raise _cut_off()
        left -= parts * ENTRY
        terms = np.frombuffer(file.read(count * ENTRY), TERM)
        proofs = None
        if flags & WITH_PROOFS:
            proofs = np.frombuffer(file.read(count * ENTRY), PROOF)
        if not flags & WITH_SHA256:
            raise bad_request("the shard does not tell the sha256 of a file")
        # the client keeps the sha256 as if it were one of its own hashes
        sha256 = to_text(file.read(ENTRY)[:32])
        yield ShardFile(name, terms, proofs, sha256)


def sha256_entry(sha256: str) -> bytes:
    """A sha256 as a shard has it."""
    return from_text(sha256) + bytes(ENTRY - 32)


def _take(file: BinaryIO, count: int, left: int) -> bytes:
    if count > left:
        raise _cut_off()
    return file.read(count)


def _cut_off() -> Exception:
    return bad_request("the shard is cut off")
