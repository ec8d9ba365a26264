"""Where large files are divided, so that several tasks read one file and ids stay the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmos.data.reading.encodings import WIDE, encoding_of
from llmos.data.reading.parts import UnreadableError
from llmos.data.reading.streams import BLOCK, LONGEST, blocks, encoding_of_lines

PIECE = 8 << 20
"""bytes of a piece of a long text: it ends with the line in which a multiple of this falls."""
TOO_WIDE = "a long text in UTF-16 or UTF-32: convert it to UTF-8"

_CONTROLS = bytes({*range(32)} - {*b"\t\n\v\f\r\x1a\x1b"})
_HEAD = 4096


def looks_like_text(head: bytes) -> bool:
    """Whether the beginning of a file has no control characters, or is UTF-16."""
    head = head[:_HEAD]
    try:
        wide = encoding_of(head) in WIDE
    except UnreadableError:
        return False
    return wide or not (head.startswith(b"%PDF") or head.translate(None, _CONTROLS) != head)


def split_at_lines(
    path: str, size: int, limit: int, quoted: bool
) -> Iterator[tuple[int, int, int]]:
    """Where parts of at most `limit` bytes begin and end, and the number of their first line.

    Only a line longer than that makes a part longer. Where `quoted`, lines within double quotes
    (RFC 4180) do not end a part, and a lone carriage return ends a line too. A file in UTF-16,
    whose lines end otherwise, stays whole.
    """
    if encoding_of_lines(path) in WIDE:
        yield 0, size, 1
        return
    start = position = 0
    first = line = 1
    last_end = last_line = 0  # of the last line that ended outside of quotes
    open_quote = carriage = False
    for block in blocks(path, 0, size):
        offset = 0
        while offset < len(block):
            # Up to where this part must end; from then on, up to the next line end.
            room = start + limit - position
            if room > 0:
                stop = min(len(block), offset + room)
            else:
                found = block.find(b"\n", offset)
                stop = found + 1 if found >= 0 else len(block)
            piece = block[offset:stop]
            near = position + len(piece) > start + limit - 2 * BLOCK  # else it will not be used
            cut = _last_end(piece, open_quote if quoted else None) if near else 0
            if cut:
                last_end = position + cut
                last_line = line + _line_ends(piece[:cut], quoted, carriage)
            line += _line_ends(piece, quoted, carriage)
            carriage = piece.endswith(b"\r")
            open_quote ^= piece.count(b'"') % 2 == 1
            position += len(piece)
            offset = stop
            if position >= start + limit and last_end > start and position < size:
                yield start, last_end, first
                start, first = last_end, last_line
    if start < size:
        yield start, size, first


def _last_end(piece: bytes, in_quotes: bool | None) -> int:
    """Behind the last newline; where `in_quotes` is no None, behind the last one out of quotes."""
    if in_quotes is None:
        return piece.rfind(b"\n") + 1
    end = len(piece)
    segments = piece.split(b'"')
    for number in range(len(segments) - 1, -1, -1):
        segment = segments[number]
        if (number % 2 == 1) == in_quotes and b"\n" in segment:
            return end - len(segment) + segment.rindex(b"\n") + 1
        end -= len(segment) + 1
    return 0


def _line_ends(piece: bytes, carriages: bool, after_carriage: bool) -> int:
    """How many lines end: at \\n, where `carriages` also at \\r\\n (one line end) and \\r."""
    ends = piece.count(b"\n")
    if carriages:
        ends += piece.count(b"\r") - piece.count(b"\r\n")
        ends -= after_carriage and piece.startswith(b"\n")
    return ends


def split_at_pieces(path: str, size: int, limit: int) -> Iterator[tuple[int, int, int]]:
    """Where parts of a long text of whole pieces begin and end, and the number of their first."""
    if encoding_of(next(blocks(path), b"")) in WIDE:
        raise UnreadableError(TOO_WIDE)
    step = max(1, limit // PIECE)
    start = 0
    for number in range(step, size // PIECE + 1, step):
        end = _line_end(path, number * PIECE, size)
        if start < end < size:
            yield start, end, start // PIECE + 1
            start = end
    yield start, size, start // PIECE + 1


def _line_end(path: str, position: int, size: int) -> int:
    """The first line end at `position` or behind it."""
    position -= 1  # of the newline
    for block in blocks(path, position, size):
        at = block.find(b"\n")
        if at >= 0:
            return position + at + 1
        position += len(block)
    return size


def pieces(stream: Iterable[bytes], position: int = 0) -> Iterator[tuple[int, bytes | None]]:
    """The pieces of a stream that begins at `position`, numbered; None for one of a too long line.

    Piece n ends at the first line end at byte n x PIECE or behind it: the rule does not depend on
    where a part begins. A number is left out where that of the piece before is the same place.
    """
    number = position // PIECE + 1
    held: list[bytes] = []
    size = 0
    for block in stream:
        while block:
            at = block.find(b"\n", max(0, number * PIECE - 1 - position))
            taken = block if at < 0 else block[: at + 1]
            block = block[len(taken) :]
            position += len(taken)
            size += len(taken)
            if size <= LONGEST:
                held.append(taken)
            else:
                held.clear()
            if at >= 0:
                yield number, b"".join(held) if held else None
                held, size, number = [], 0, position // PIECE + 1
    if size:
        yield number, b"".join(held) if held else None
