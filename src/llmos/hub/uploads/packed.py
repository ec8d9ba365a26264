"""Pickles in a compressed file, which joblib and pandas open without asking, whatever its name.

Only as much is unpacked as a pickle goes on, and never more than `MOST` bytes.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import lz4.frame

from llmos.hub.uploads.pickles import follow

MOST = 256 << 20  # bytes that are unpacked of one file
PIECE = 64 << 10  # bytes read at once
XZ_MEMORY = 128 << 20  # bytes; what `xz -9` makes needs 65 MiB
KINDS: dict[bytes, Callable[[], Any]] = {  # by how a file begins, as joblib tells them
    b"\x1f\x8b": lambda: zlib.decompressobj(31),  # gzip
    b"\x78": zlib.decompressobj,
    b"BZ": bz2.BZ2Decompressor,
    b"\xfd7zXZ": lambda: lzma.LZMADecompressor(memlimit=XZ_MEMORY),
    b"\x5d\x00": lambda: lzma.LZMADecompressor(memlimit=XZ_MEMORY),
    b"\x04\x22\x4d\x18": lz4.frame.LZ4FrameDecompressor,
}
FAILURES = (zlib.error, lzma.LZMAError, OSError, RuntimeError, EOFError, ValueError)
BEGINS = tuple(bytes([0x80, version]) for version in range(2, 6))  # a pickle, beyond doubt


def why_dangerous(file: BinaryIO) -> str | None:
    """Why opening a compressed file may run code; None when it does not, or is not compressed in a
    way that is known."""
    file.seek(0)
    head = file.read(8)
    unpacker = next((KINDS[kind] for kind in KINDS if head.startswith(kind)), None)
    if unpacker is None:
        return None
    content = cast(BinaryIO, io.BufferedReader(_Content(file, unpacker)))
    begins = content.read(2) in BEGINS
    followed = follow(cast(BinaryIO, io.BufferedReader(_Content(file, unpacker))), MOST)
    if followed.runs_code:
        return f"a compressed pickle that imports {', '.join(sorted(set(followed.imports)))[:200]}"
    if followed.too_long or (begins and not followed.whole):
        return "a compressed pickle that cannot be checked"
    return None


class _Content(io.RawIOBase):
    """What a compressed file holds, read forwards; where it is damaged, or goes beyond `MOST`, it
    ends. As in Python's readers, parts compressed one by one may follow one another."""

    def __init__(self, file: BinaryIO, unpacker: Callable[[], Any]) -> None:
        file.seek(0)
        self._file, self._new, self._unpacker = file, unpacker, unpacker()
        self._packed, self._at = b"", 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Forwards only."""
        left = offset - (self._at if whence == io.SEEK_SET else 0)
        while left > 0 and (piece := self._more(min(left, PIECE))):
            left -= len(piece)
        return self._at

    def readinto(self, buffer: Any) -> int:
        piece = self._more(min(len(buffer), MOST - self._at))
        buffer[: len(piece)] = piece
        return len(piece)

    def _more(self, most: int) -> bytes:
        try:
            while most > 0:
                if not self._packed and getattr(self._unpacker, "needs_input", True):
                    self._packed = self._file.read(PIECE)
                    if not self._packed:
                        return b""
                piece = self._unpacker.decompress(self._packed, most)
                self._packed = getattr(self._unpacker, "unconsumed_tail", b"")
                if self._unpacker.eof:
                    self._packed = (self._unpacker.unused_data or b"").lstrip(b"\0")
                    self._unpacker = self._new()
                if piece:
                    self._at += len(piece)
                    return bytes(piece)
        except FAILURES:
            pass  # what came before counts
        return b""
