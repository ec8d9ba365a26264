"""Bytes and lines of a file, or of a compressed one (.gz, .zst), in memory that does not grow."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from llmos.data.reading.encodings import REPLACED, encoding_of
from llmos.data.reading.parts import Part, Problem, UnreadableError

BLOCK = 1 << 20
LONGEST = 32 << 20
"""bytes of a record, a line or a whole text; a long book has 5 MB."""
RATIO = 200
"""A stream may expand so many times (text: 3 to 10; gzip can do 1032) once it has passed `FREE`."""
FREE = 64 << 20
STRAY = 0.01
"""A file of records may have so many NUL bytes a byte: UTF-16 has far more, as programs have."""

DAMAGED = "a damaged or cut archive: what stands before the damage was read"
BOMB = f"expands more than {RATIO}-fold, as no text does: the rest was not read"
TOO_LONG = f"longer than {LONGEST >> 20} MiB"
SHRUNK = "became shorter while it was read"

_INPUT = 1 << 16
_ZSTD_INPUT = 1 << 10  # expands to 32 MiB at most: 4 bytes may stand for a block of 128 KiB


def compressed(path: str) -> bool:
    """Whether a file of this name is read as a compressed one."""
    return path.lower().endswith((".gz", ".zst"))


def blocks(path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The bytes of a file from `start` to `end`, or all that a compressed one expands to.

    Raises `UnreadableError` at the place where an archive is damaged, expands too much, or the file
    has become shorter; `OSError` where it cannot be read.
    """
    with open(path, "rb") as file:
        if path.lower().endswith(".gz"):
            yield from _within_ratio(_gunzip(file))
        elif path.lower().endswith(".zst"):
            yield from _within_ratio(_unzstd(file))
        else:
            yield from _range(file, start, end)


def _range(file: BinaryIO, start: int, end: int | None) -> Iterator[bytes]:
    file.seek(start)
    while end is None or start < end:
        block = file.read(BLOCK if end is None else min(BLOCK, end - start))
        if not block:
            if end is None:
                return
            raise UnreadableError(SHRUNK)
        start += len(block)
        yield block


def _within_ratio(expanded: Iterator[tuple[int, bytes]]) -> Iterator[bytes]:
    given = 0
    for taken, block in expanded:
        given += len(block)
        if given > FREE and given > RATIO * taken:
            raise UnreadableError(BOMB)
        yield block


def _gunzip(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Blocks of what the members of a gzip file (RFC 1952) hold, and the bytes taken for them."""
    decoder = zlib.decompressobj(wbits=31)
    data, taken, begun, full = b"", 0, False, False
    while True:
        if not data and not full:
            data = file.read(_INPUT)
            taken += len(data)
            if not data:
                break
        begun = begun or bool(data)
        try:
            block = decoder.decompress(data, BLOCK)
        except zlib.error as error:
            raise UnreadableError(DAMAGED) from error
        full = len(block) == BLOCK  # there may be more, even where no input is left
        data = decoder.unconsumed_tail
        if decoder.eof:
            data, begun, full = decoder.unused_data.lstrip(b"\0"), False, False
            decoder = zlib.decompressobj(wbits=31)
        if block:
            yield taken, block
    if begun:
        raise UnreadableError(DAMAGED)


def _unzstd(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Blocks of what the frames of a Zstandard file (RFC 8878) hold, and the bytes taken."""
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)  # the zstd command's limit
    decoder = decompressor.decompressobj()
    held: list[bytes] = []
    size = taken = 0
    begun = False
    try:
        while data := file.read(_ZSTD_INPUT):
            taken += len(data)
            while data:
                begun = True
                held.append(decoder.decompress(data))
                size += len(held[-1])
                data = b""
                if decoder.eof:
                    data, begun = decoder.unused_data, False
                    decoder = decompressor.decompressobj()
            if size >= BLOCK:
                yield taken, b"".join(held)
                held, size = [], 0
    except zstandard.ZstdError as error:
        damage: Exception | None = error
    else:
        damage = None
    if size:
        yield taken, b"".join(held)
    if begun or damage:
        raise UnreadableError(DAMAGED) from damage


def whole(stream: Iterable[bytes], longest: int = LONGEST) -> bytes:
    """All bytes of a stream. Raises `UnreadableError` where they are more than `longest`."""
    held: list[bytes] = []
    size = 0
    for block in stream:
        size += len(block)
        if size > longest:
            raise UnreadableError(TOO_LONG)
        held.append(block)
    return b"".join(held)


def split_lines(stream: Iterable[bytes], longest: int = LONGEST) -> Iterator[bytes | None]:
    """The lines of a stream without their newline; None for one of more than `longest` bytes."""
    held: list[bytes] = []
    size = 0
    for block in stream:
        first, *rest = block.split(b"\n")
        size += len(first)
        if size <= longest:
            held.append(first)
        else:
            held.clear()
        if rest:
            yield b"".join(held) if size <= longest else None
            yield from rest[:-1]
            held, size = [rest[-1]], len(rest[-1])
    if size:
        yield b"".join(held) if size <= longest else None


def encoding_of_lines(path: str) -> str:
    """The encoding of a file of records, told by its beginning; a few NUL bytes spoil only theirs.

    Raises `UnreadableError` for what is not text.
    """
    head = next(blocks(path), b"")
    if len(head) > _INPUT:
        head = head[: head.rfind(b"\n") + 1] or head  # so that no character is cut
    few = head.count(0) <= STRAY * len(head)
    return encoding_of(head.replace(b"\0", b"") if few else head)


class Lines:
    """The lines of a part in UTF-8, numbered as in the file; None stands for one too long.

    Iteration raises as `blocks` does, at the place of the damage.
    """

    def __init__(self, part: Part) -> None:
        self._part = part
        self.replaced = False

    def __iter__(self) -> Iterator[tuple[int, bytes | None]]:
        part = self._part
        stream = blocks(part.path, part.start, part.end)
        encoding = encoding_of_lines(part.path)
        if encoding != "utf-8":
            stream = self._converted(stream, encoding)
        if part.start == 0:
            stream = _unmarked(stream)
        return enumerate(split_lines(stream), part.first)

    def text(self, line: bytes) -> str:
        """A line, with U+FFFD for what is not UTF-8."""
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.replaced = True
            return line.decode("utf-8", "replace")

    def problems(self) -> Iterator[Problem]:
        """What was found besides, once the lines have been read."""
        if self.replaced:
            yield Problem(self._part.path, REPLACED)

    def _converted(self, stream: Iterator[bytes], encoding: str) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(encoding)("replace")
        for block in stream:
            text = decoder.decode(block)
            self.replaced = self.replaced or "\ufffd" in text
            yield text.encode("utf-8", "replace")
        yield decoder.decode(b"", True).encode("utf-8", "replace")


def _unmarked(stream: Iterator[bytes]) -> Iterator[bytes]:
    """Without the byte order mark; one within a file is a character like others."""
    for block in stream:
        yield block.removeprefix(codecs.BOM_UTF8)
        break
    yield from stream
