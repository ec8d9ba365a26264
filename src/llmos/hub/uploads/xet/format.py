"""Xorbs as they travel: chunk after chunk, each with a head of 8 bytes, maybe a footer
(https://huggingface.co/docs/xet/xorb)."""

from __future__ import annotations

import struct
from typing import Protocol

import lz4.frame
import numpy as np

from llmos.hub.errors import bad_request
from llmos.hub.uploads.xet.hashes import MerkleTree, chunk_hash

HEAD = 8  # bytes: version, packed size (3), scheme, unpacked size (3)
FOOTER = b"XETBLOB"
LARGEST_CHUNK = 128 << 10  # bytes, unpacked
LARGEST_XORB = 128 << 20  # bytes, unpacked; the clients cut at 64 MiB
LARGEST_PACKED = 72 << 20  # bytes: 64 MiB and a footer
MOST_CHUNKS = 65_536  # the clients stop at 8,192
RECORD = struct.Struct("<I32s")  # of the index: a chunk's size, its hash


class Sink(Protocol):
    """Where unpacked bytes go."""

    def write(self, data: bytes) -> object:
        """Take some more."""


def unpack(scheme: int, data: bytes, size: int) -> bytes:
    """A chunk's bytes. Raises `HubError` 400 unless they are `size` bytes, and never unpacks
    more than that."""
    if scheme == 0:
        plain = data
    elif scheme in (1, 2):
        try:
            decoder = lz4.frame.LZ4FrameDecompressor()
            plain = decoder.decompress(data, size + 1)
            whole = decoder.eof and not decoder.unused_data
        except RuntimeError:
            whole = False
        if not whole:
            raise bad_request("a chunk of the xorb is no whole LZ4 frame")
    else:
        raise bad_request(f"a chunk of the xorb is packed in an unknown way ({scheme})")
    if len(plain) != size:
        raise bad_request("a chunk of the xorb does not have the size that its head says")
    return _ungroup(plain) if scheme == 2 else plain


def _ungroup(grouped: bytes) -> bytes:
    """Bytes 0, 4, 8, ... come first, then 1, 5, 9, ... : put them back in their order."""
    plain = np.empty(len(grouped), np.uint8)
    source = np.frombuffer(grouped, np.uint8)
    start = 0
    for place in range(4):
        count = len(range(place, len(grouped), 4))
        plain[place::4] = source[start : start + count]
        start += count
    return plain.tobytes()


class Unpacker:
    """Takes a xorb in pieces of any size, writes its chunks unpacked into `sink`, keeps an index.

    At most one chunk and one piece are held.
    """

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.index = bytearray()  # RECORDs
        self.size = 0  # bytes unpacked
        self.count = 0
        self._tree = MerkleTree()
        self._rest = b""
        self._footer = False

    def feed(self, piece: bytes) -> None:
        """Take the next piece. Raises `HubError` 400 for what is no xorb, 413 for a bomb."""
        if self._footer:
            return
        data = self._rest + piece
        at = 0
        while len(data) - at >= HEAD:
            if data[at : at + len(FOOTER)] == FOOTER:
                self._footer = True
                self._rest = b""
                return
            packed = int.from_bytes(data[at + 1 : at + 4], "little")
            size = int.from_bytes(data[at + 5 : at + 8], "little")
            if data[at] != 0 or not 0 < size <= LARGEST_CHUNK or not 0 < packed <= 2 * size + 64:
                raise bad_request("this is no xorb: a chunk's head makes no sense")
            if len(data) - at - HEAD < packed:
                break
            self._chunk(data[at + 4], data[at + HEAD : at + HEAD + packed], size)
            at += HEAD + packed
        self._rest = data[at:]

    def _chunk(self, scheme: int, data: bytes, size: int) -> None:
        self.size += size
        self.count += 1
        if self.size > LARGEST_XORB or self.count > MOST_CHUNKS:
            raise bad_request(
                f"a xorb may hold {LARGEST_XORB:,} unpacked bytes in {MOST_CHUNKS:,} chunks"
            )
        plain = unpack(scheme, data, size)
        name = chunk_hash(plain)
        self._tree.add(name, size)
        self.index += RECORD.pack(size, name)
        self.sink.write(plain)

    def finish(self) -> bytes:
        """The xorb's hash. Raises `HubError` 400 when the xorb is cut off or empty."""
        if self._rest or not self.count:
            raise bad_request("the xorb is cut off: send it again")
        return self._tree.xorb_hash()
