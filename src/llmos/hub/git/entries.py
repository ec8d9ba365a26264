"""What a folder of a version holds: entries by name, the bytes they are stored as, and the id that
git gives them.

A folder is stored as records in git's order, each: 1 byte kind (F file, L large file, D folder,
P piece of a large folder), 20 bytes git id (of a piece: how many entries it has), 8 bytes size,
32 bytes key, 2 bytes length of the name, the name. The key of a file is the sha256 of its content,
that of a folder the sha256 of its own records; a folder's size is that of all files below. Folders
are found by that sha256, not by git's sha1, so that nobody can put a file of the same sha1 in
another's place.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmos.hub.git.objects import object_id

RECORD = struct.Struct(">c20sQ32sH")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or folder. `oid` is git's id, `key` the sha256 of the content or of the folder."""

    kind: str  # file | lfs | directory
    oid: str
    size: int
    key: str

    @property
    def directory(self) -> bool:
        """Whether it is a folder."""
        return self.kind == "directory"

    @property
    def lfs(self) -> bool:
        """Whether git would keep a pointer in its place."""
        return self.kind == "lfs"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a large folder: the rank of its first entry, the entries in it, their bytes."""

    rank: bytes
    count: int
    size: int
    key: str


Tree = Mapping[str, Entry]
LETTERS = {"file": b"F", "lfs": b"L", "directory": b"D"}
KINDS = {letter: kind for kind, letter in LETTERS.items()}


def rank(name: str, entry: Entry) -> bytes:
    """What git sorts by: a folder counts as if its name ended in a slash."""
    return name.encode() + b"/" if entry.directory else name.encode()


def encode(entries: Iterable[tuple[str, Entry]]) -> bytes:
    """The bytes of entries that stand in git's order."""
    return b"".join(
        RECORD.pack(
            LETTERS[entry.kind],
            bytes.fromhex(entry.oid),
            entry.size,
            bytes.fromhex(entry.key),
            len(encoded := name.encode()),
        )
        + encoded
        for name, entry in entries
    )


def encode_pieces(pieces: Iterable[Piece]) -> bytes:
    """The bytes of the pieces of a folder."""
    return b"".join(
        RECORD.pack(
            b"P",
            piece.count.to_bytes(20, "big"),
            piece.size,
            bytes.fromhex(piece.key),
            len(piece.rank),
        )
        + piece.rank
        for piece in pieces
    )


def decode(data: bytes) -> dict[str, Entry] | list[Piece]:
    """The entries of these bytes, or the pieces that they are in."""
    found: dict[str, Entry] = {}
    pieces: list[Piece] = []
    at = 0
    while at < len(data):
        letter, oid, size, key, length = RECORD.unpack_from(data, at)
        at += RECORD.size + length
        name = data[at - length : at]
        if letter == b"P":
            pieces.append(Piece(name, int.from_bytes(oid, "big"), size, key.hex()))
        else:
            found[name.decode()] = Entry(KINDS[letter], oid.hex(), size, key.hex())
    return pieces or found


def key_of(data: bytes) -> str:
    """The key under which these bytes are stored."""
    return hashlib.sha256(data).hexdigest()


def git_lines(entries: Iterable[tuple[str, Entry]]) -> bytes:
    """The part of a git tree object that tells of these entries, which stand in git's order."""
    return b"".join(
        (b"40000 " if entry.directory else b"100644 ")
        + name.encode()
        + b"\0"
        + bytes.fromhex(entry.oid)
        for name, entry in entries
    )


def git_id(tree: Tree) -> str:
    """The id that git gives this folder."""
    return object_id("tree", git_lines(in_order(tree)))


def in_order(tree: Tree) -> list[tuple[str, Entry]]:
    """Entries in git's order."""
    return sorted(tree.items(), key=lambda item: rank(*item))
