"""How a file that came by Xet is cut into chunks, kept so that it can leave the same way.

Files lie in the store as plain blobs. For downloads their chunks are put into xorbs again, of
`LARGEST` bytes at most, which no one has ever sent: a row of `file_xorbs` has the hash of one, and
of each chunk the size and the beginning of its hash, by which damage shows before it is sent.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
from sqlalchemy import Connection, bindparam, delete, exists, select, update

from llmos.hub.database.tables import blobs, file_xorbs, repo_blobs
from llmos.hub.uploads.xet.hashes import MerkleTree, to_text

LARGEST = 16 << 20  # bytes of a xorb's chunks, which clients fetch side by side
CHECK = 8  # bytes of a chunk's hash: bytes that changed by chance fit one time in 2^64
CHUNK = np.dtype([("size", "<u4"), ("check", f"V{CHECK}")])
SMALLEST = 4096  # bytes of a chunk, on average: no list may be as large as its file
SPARE = 64  # chunks that may be smaller

_FILE = (
    select(blobs.c.sha256, blobs.c.size)
    .join(repo_blobs, repo_blobs.c.sha256 == blobs.c.sha256)
    .where(blobs.c.xet_hash == bindparam("hash"), blobs.c.state == "good")
    .where(repo_blobs.c.repo_id == bindparam("repo"), repo_blobs.c.committed)
)


class ChunkList:
    """Takes down a file's chunks as they come."""

    def __init__(self) -> None:
        self._file, self._xorb = MerkleTree(), MerkleTree()
        self._rows: list[dict[str, Any]] = []
        self._chunks = bytearray()  # of the last xorb
        self._start = self._size = self._count = 0
        self._fine = True

    def add(self, name: bytes, size: int) -> None:
        """The next chunk: its hash, and its size in bytes."""
        self._file.add(name, size)
        if self._size + size - self._start > LARGEST:
            self._end_xorb()
        self._xorb.add(name, size)
        self._size += size
        self._count += 1
        self._fine = self._fine and self._count <= SPARE + self._size // SMALLEST
        if self._fine:
            self._chunks += size.to_bytes(4, "little") + name[:CHECK]

    def _end_xorb(self) -> None:
        row = {"start": self._start, "hash": to_text(self._xorb.xorb_hash())}
        self._rows.append({**row, "chunks": bytes(self._chunks)})
        self._xorb = MerkleTree()
        self._chunks.clear()
        self._start = self._size

    def finish(self) -> bytes:
        """The hash by which Xet knows the file; nothing can be added afterwards."""
        if self._chunks:
            self._end_xorb()
        return self._file.file_hash()

    def record(self, connection: Connection, sha256: str, name: bytes) -> None:
        """Write the list down with the blob that it is about, whose hash `finish` has told; not
        when there is one already, or when its chunks are too many."""
        if not self._fine:
            return
        new = update(blobs).where(blobs.c.sha256 == sha256, blobs.c.xet_hash.is_(None))
        if connection.execute(new.values(xet_hash=to_text(name))).rowcount:
            rows = [{"sha256": sha256, **row} for row in self._rows]
            connection.execute(file_xorbs.insert(), rows)


def has_list(connection: Connection, sha256: str) -> bool:
    """Whether it is known how a blob is cut."""
    known = select(blobs.c.xet_hash).where(blobs.c.sha256 == sha256)
    return connection.scalar(known) is not None


def file_of(connection: Connection, repo_id: int, name: str) -> tuple[str, int] | None:
    """sha256 and bytes of the file that Xet knows by the hash `name`, if versions of the repository
    hold it and it is neither damaged nor kept back."""
    row = connection.execute(_FILE, {"hash": name, "repo": repo_id}).first()
    return (row.sha256, row.size) if row else None


def wrong_lists(connection: Connection) -> list[str]:
    """The blobs whose list does not fit their size, and lists without a blob: by sha256."""
    listed = blobs.c.xet_hash.is_not(None)
    same = blobs.c.sha256 == file_xorbs.c.sha256
    strays = select(file_xorbs.c.sha256).where(~exists().where(same, listed)).distinct()
    found = list(connection.scalars(strays))
    rows = connection.execute(
        select(blobs.c.sha256, blobs.c.size, file_xorbs.c.start, file_xorbs.c.chunks)
        .join(file_xorbs, same, isouter=True)
        .where(listed)
        .order_by(blobs.c.sha256, file_xorbs.c.start),
        execution_options={"yield_per": 500},
    )
    for (sha256, size), xorbs in groupby(rows, lambda row: (row.sha256, row.size)):
        at = 0
        for row in xorbs:
            if row.start != at or len(row.chunks) % CHUNK.itemsize:
                break
            at += int(np.frombuffer(row.chunks, CHUNK)["size"].sum(dtype=np.int64))
        if at != size:
            found.append(sha256)
    return found


def forget(connection: Connection, sha256: str) -> None:
    """Drop the list of a blob, which is then fetched in the plain way."""
    connection.execute(delete(file_xorbs).where(file_xorbs.c.sha256 == sha256))
    connection.execute(update(blobs).where(blobs.c.sha256 == sha256).values(xet_hash=None))
