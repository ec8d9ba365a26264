"""Files on their way out as chunks: which xorbs make a range of a file, and the bytes of a xorb,
made of the plain blob at the moment they are asked for. Each chunk is checked before it leaves."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select

from llmos.hub.database.tables import file_xorbs
from llmos.hub.errors import HubError
from llmos.hub.repos.delivery import Delivery
from llmos.hub.uploads.xet.chunklists import CHECK, CHUNK, forget
from llmos.hub.uploads.xet.format import HEAD
from llmos.hub.uploads.xet.hashes import chunk_hash

PIECE = 1 << 20  # bytes read and checked at once


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a file: chunks `first` up to `last` of the xorb that begins at byte `start` of the
    file. `size` are its bytes, `begin` up to `end` those of the xorb with its heads."""

    start: int
    hash: str
    first: int
    last: int
    size: int
    begin: int
    end: int


def terms_of(connection: Connection, sha256: str, start: int, stop: int) -> tuple[list[Term], int]:
    """The terms that bytes `start` up to `stop` of a file are in, and where in the first of them
    `start` is."""
    about = file_xorbs.c
    before = select(func.max(about.start)).where(about.sha256 == sha256, about.start <= start)
    rows = connection.execute(
        select(about.start, about.hash, func.length(about.chunks).label("length"))
        .where(about.sha256 == sha256, about.start < stop)
        .where(about.start >= before.scalar_subquery())
        .order_by(about.start)
    ).all()
    found: list[Term] = []
    into = 0
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        if following is not None and row.start >= start:  # all of it
            first, last, skipped = 0, row.length // CHUNK.itemsize, 0
            size = following.start - row.start
        else:
            cuts = chunks_of(connection, sha256, row.start).cuts
            first = max(int(np.searchsorted(cuts, start - row.start, "right")) - 1, 0)
            last = min(int(np.searchsorted(cuts, stop - row.start, "left")), len(cuts) - 1)
            skipped, size = int(cuts[first]), int(cuts[last] - cuts[first])
        if not found:
            into = start - row.start - skipped
        begin = skipped + HEAD * first
        end = begin + size + HEAD * (last - first)
        found.append(Term(row.start, row.hash, first, last, size, begin, end))
    return found, into


@dataclass(frozen=True, slots=True)
class Chunks:
    """The chunks of a xorb: their sizes and the beginnings of their hashes; `cuts` are where each
    begins, and where the last ends, in bytes of the file after the xorb's `start`."""

    start: int
    chunks: np.ndarray[Any, Any]  # of CHUNK
    cuts: np.ndarray[Any, Any]

    @property
    def packed_size(self) -> int:
        """Bytes of the xorb with a head before each chunk."""
        return int(self.cuts[-1]) + HEAD * len(self.chunks)


def chunks_of(connection: Connection, sha256: str, start: int) -> Chunks:
    """The chunks of the xorb that begins at byte `start` of a blob. Raises `HubError` 404."""
    here = (file_xorbs.c.sha256 == sha256) & (file_xorbs.c.start == start)
    data = connection.scalar(select(file_xorbs.c.chunks).where(here))
    if data is None:
        raise HubError(404, "The file has no xorb there")
    chunks = np.frombuffer(data, CHUNK)
    return Chunks(start, chunks, np.concatenate(([0], np.cumsum(chunks["size"], dtype=np.int64))))


def packed(file: Delivery, xorb: Chunks, begin: int, end: int) -> Iterator[bytes]:
    """Bytes `begin` up to `end` of a xorb, in pieces. Raises `HubError` 503, and ends before its
    last byte, when the file is damaged."""
    places = xorb.cuts + HEAD * np.arange(len(xorb.cuts))  # of the heads
    first = int(np.searchsorted(places, begin, "right")) - 1
    last = int(np.searchsorted(places, end, "left"))
    skip, left = begin - int(places[first]), end - begin
    for piece in _whole_chunks(file, xorb, first, last):
        part = piece[skip : skip + left] if skip or len(piece) > left else piece
        skip, left = 0, left - len(part)
        yield part


def _whole_chunks(file: Delivery, xorb: Chunks, first: int, last: int) -> Iterator[bytes]:
    cuts: list[int] = xorb.cuts.tolist()
    checks = xorb.chunks["check"].tobytes()
    while first < last:
        stop = min(max(bisect_right(cuts, cuts[first] + PIECE) - 1, first + 1), last)
        data = memoryview(b"".join(file.read(xorb.start + cuts[first], xorb.start + cuts[stop])))
        out: list[bytes | memoryview] = []
        for number in range(first, stop):
            chunk = data[cuts[number] - cuts[first] : cuts[number + 1] - cuts[first]]
            if chunk_hash(chunk)[:CHECK] != checks[CHECK * number : CHECK * (number + 1)]:
                raise _wrong(file)
            size = len(chunk).to_bytes(3, "little")
            out += [b"\0" + size + b"\0" + size, chunk]  # as they are: not packed
        yield b"".join(out)
        first = stop


def _wrong(file: Delivery) -> HubError:
    """Is it the file, or what was noted of its chunks?"""
    file.check()
    with file.hub.database.write() as connection:
        forget(connection, file.sha256)
    return HubError(503, "What the hub had noted of this file's chunks was wrong: ask once more")
