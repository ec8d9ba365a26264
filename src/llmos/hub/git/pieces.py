"""Large folders, cut into pieces, so that a change writes one piece and the list of pieces, not all
of a hundred thousand entries.

A piece begins at each entry whose name says so (by a checksum: about one in 128). So the same
folder is always cut in the same places, however it came about, and versions share their pieces. The
list of pieces is cut by the same rule when it is long.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from llmos.hub.git.entries import (
    Entry,
    Piece,
    Tree,
    encode,
    encode_pieces,
    git_lines,
    in_order,
    key_of,
    rank,
)
from llmos.hub.git.objects import object_id

WHOLE = 256  # a list of no more records is never cut
BITS = 7  # a piece has 2^7 records, on average
LEVELS = 4  # a checksum has bits for no more

Lines = Callable[[Piece], bytes]
Loader = Callable[[Piece], Tree]


@dataclass(slots=True)
class Folder:
    """A folder to be stored: what stands for it above, and the rows to add, by their key."""

    entry: Entry
    rows: dict[str, bytes] = field(default_factory=dict)
    count: int = 0  # of entries


def begins(rank_of_entry: bytes, level: int) -> bool:
    """Whether a new piece begins at this entry."""
    return not zlib.crc32(rank_of_entry) >> BITS * level & (1 << BITS) - 1


def draft(tree: Tree) -> Folder:
    """A folder made from all of its entries."""
    entries = in_order(tree)
    lines = git_lines(entries)
    size = sum(entry.size for _, entry in entries)
    made = Folder(Entry("directory", object_id("tree", lines), size, ""), count=len(entries))
    if len(entries) <= WHOLE:
        _finish(made, encode(entries))
    else:
        _stack(made, list(_cut(entries, made.rows)))
    return made


def redraft(
    old: Sequence[Piece], edits: Mapping[str, Entry | None], load: Loader, lines: Lines
) -> Folder:
    """A folder made from the pieces of another and the entries that differ; only pieces with a
    change in them are opened. `old` are the lowest pieces, `lines` gives one's `git_lines`."""
    ranks = [piece.rank for piece in old]
    touched: dict[int, dict[str, Entry]] = {}

    def opened(place: bytes) -> dict[str, Entry]:
        at = max(bisect_right(ranks, place) - 1, 0)
        if at not in touched:
            touched[at] = dict(load(old[at]))
        return touched[at]

    for name, entry in edits.items():
        for place in (name.encode(), name.encode() + b"/"):
            opened(place).pop(name, None)
        if entry is not None:
            opened(rank(name, entry))[name] = entry
    made = Folder(Entry("directory", "", 0, ""))
    pieces: list[Piece] = []
    text: list[bytes] = []
    groups = _joined(old, touched, load)
    for at, entries in groups:
        if entries is None:
            pieces.append(old[at])
            text.append(lines(old[at]))
        elif entries:
            ordered = in_order(entries)
            text.append(git_lines(ordered))
            pieces += _cut(ordered, made.rows)
    made.count = sum(piece.count for piece in pieces)
    if made.count <= WHOLE:
        return draft(
            {
                name: entry
                for at, entries in groups
                for name, entry in (load(old[at]) if entries is None else entries).items()
            }
        )
    size = sum(piece.size for piece in pieces)
    made.entry = Entry("directory", object_id("tree", b"".join(text)), size, "")
    _stack(made, pieces)
    return made


def _joined(
    old: Sequence[Piece], touched: Mapping[int, dict[str, Entry]], load: Loader
) -> list[tuple[int, dict[str, Entry] | None]]:
    """The pieces by number, with the entries of those that change. One that has lost the entry it
    began with joins the piece before it."""
    groups: list[tuple[int, dict[str, Entry] | None]] = []
    for at in range(len(old)):
        entries = touched.get(at)
        if entries and groups and not begins(min(rank(*one) for one in entries.items()), 0):
            before, mine = groups.pop()
            entries = {**(load(old[before]) if mine is None else mine), **entries}
            at = before
        groups.append((at, entries))
    return groups


def _cut(entries: Sequence[tuple[str, Entry]], rows: dict[str, bytes]) -> Iterator[Piece]:
    starts = [at for at, one in enumerate(entries) if at == 0 or begins(rank(*one), 0)]
    for start, stop in zip(starts, [*starts[1:], len(entries)], strict=True):
        some = entries[start:stop]
        data = encode(some)
        key = key_of(data)
        rows[key] = data
        size = sum(entry.size for _, entry in some)
        yield Piece(rank(*some[0]), len(some), size, key)


def _stack(made: Folder, pieces: list[Piece]) -> None:
    """Store the list of pieces, itself cut while it is long."""
    level = 1
    while len(pieces) > WHOLE and level < LEVELS:
        starts = [at for at, one in enumerate(pieces) if at == 0 or begins(one.rank, level)]
        above = []
        for start, stop in zip(starts, [*starts[1:], len(pieces)], strict=True):
            some = pieces[start:stop]
            data = encode_pieces(some)
            key = key_of(data)
            made.rows[key] = data
            count, size = sum(one.count for one in some), sum(one.size for one in some)
            above.append(Piece(some[0].rank, count, size, key))
        pieces, level = above, level + 1
    _finish(made, encode_pieces(pieces))


def _finish(made: Folder, data: bytes) -> None:
    key = key_of(data)
    made.rows[key] = data
    made.entry = Entry("directory", made.entry.oid, made.entry.size, key)
