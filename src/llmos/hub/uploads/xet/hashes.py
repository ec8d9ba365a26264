"""Xet's hashes: blake3 with published keys, and the tree that sums up many chunks
(https://huggingface.co/docs/xet/hashing)."""

from __future__ import annotations

import struct

from blake3 import blake3

# fmt: off
DATA_KEY = bytes([
    102, 151, 245, 119, 91, 149, 80, 222, 49, 53, 203, 172, 165, 151, 24, 28,
    157, 228, 33, 16, 155, 235, 43, 88, 180, 208, 176, 75, 147, 173, 242, 41,
])
NODE_KEY = bytes([
    1, 126, 197, 199, 165, 71, 41, 150, 253, 148, 102, 102, 180, 138, 2, 230,
    93, 221, 83, 111, 55, 199, 109, 210, 248, 99, 82, 230, 74, 83, 113, 63,
])
RANGE_KEY = bytes([
    127, 24, 87, 214, 206, 86, 237, 102, 18, 127, 249, 19, 231, 165, 195, 243,
    164, 205, 38, 213, 181, 219, 73, 230, 65, 36, 152, 127, 40, 251, 148, 195,
])
# fmt: on
BRANCHES = 4  # children of a node, on average; at least 3 (but at the end), at most 9
QUARTERS = struct.Struct("<4Q")


def to_text(raw: bytes) -> str:
    """The 64 letters by which a hash goes: four little-endian numbers, not byte after byte."""
    return "".join(f"{number:016x}" for number in QUARTERS.unpack(raw))


def from_text(text: str) -> bytes:
    """The 32 bytes of such a text (64 hexadecimal digits)."""
    return QUARTERS.pack(*(int(text[at : at + 16], 16) for at in range(0, 64, 16)))


def chunk_hash(data: bytes | memoryview) -> bytes:
    """Of one chunk's unpacked bytes."""
    return blake3(data, key=DATA_KEY).digest()


def range_hash(hashes: bytes) -> bytes:
    """Of the chunk hashes of one term, one after another."""
    return blake3(hashes, key=RANGE_KEY).digest()


class MerkleTree:
    """Sums up chunks as they come; a few nodes of each level are held, however many there are."""

    def __init__(self) -> None:
        self._levels: list[list[tuple[bytes, int]]] = [[]]
        self._counts = [0]

    def add(self, chunk: bytes, size: int) -> None:
        """Add a chunk: its hash, and its size in bytes."""
        self._add(0, chunk, size)

    def _add(self, level: int, node: bytes, size: int) -> None:
        if level == len(self._levels):
            self._levels.append([])
            self._counts.append(0)
        waiting = self._levels[level]
        waiting.append((node, size))
        self._counts[level] += 1
        ends = len(waiting) > 2 and node[24] % BRANCHES == 0  # the last number, modulo 4
        if ends or len(waiting) == 2 * BRANCHES + 1:
            self._join(level)

    def _join(self, level: int) -> None:
        waiting = self._levels[level]
        lines = "".join(f"{to_text(node)} : {size}\n" for node, size in waiting)
        total = sum(size for _, size in waiting)
        waiting.clear()
        self._add(level + 1, blake3(lines.encode(), key=NODE_KEY).digest(), total)

    def xorb_hash(self) -> bytes:
        """The root over all chunks; nothing can be added afterwards."""
        level = 0
        while self._counts[level] != 1:
            if self._counts[level] == 0:
                return bytes(32)
            if self._levels[level]:
                self._join(level)
            level += 1
        return self._levels[level][0][0]

    def file_hash(self) -> bytes:
        """The hash by which a file of these chunks goes; nothing can be added afterwards."""
        if self._counts[0] == 0:
            return bytes(32)
        return blake3(self.xorb_hash(), key=bytes(32)).digest()
