"""Folders of a version: entries by name, kept once for all versions and repositories that share
them.

A tree is stored as records, sorted by name, each: 1 byte kind (F file, L large file, D folder),
20 bytes git id, 8 bytes size, 32 bytes key, 2 bytes length of the name, the name. The key of a file
is the sha256 of its content, that of a folder the sha256 of its own records; a folder's size is
that of all files below. Trees are found by that sha256, not by git's sha1, so that nobody can put
a file of the same sha1 in another's place.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from llmos.hub.database.tables import trees
from llmos.hub.git.objects import object_id

RECORD = struct.Struct(">c20sQ32sH")
CACHED = 64 << 20  # bytes of decoded trees that are kept in memory, about
PER_ENTRY = 400  # bytes that a decoded entry takes, about


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


Tree = Mapping[str, Entry]
LETTERS = {"file": b"F", "lfs": b"L", "directory": b"D"}
KINDS = {letter: kind for kind, letter in LETTERS.items()}


def encode(tree: Tree) -> bytes:
    """A tree's bytes, as stored."""
    return b"".join(
        RECORD.pack(
            LETTERS[entry.kind],
            bytes.fromhex(entry.oid),
            entry.size,
            bytes.fromhex(entry.key),
            len(encoded := name.encode()),
        )
        + encoded
        for name, entry in sorted(tree.items())
    )


def decode(data: bytes) -> dict[str, Entry]:
    """The tree of these bytes."""
    found, at = {}, 0
    while at < len(data):
        letter, oid, size, key, length = RECORD.unpack_from(data, at)
        at += RECORD.size + length
        name = data[at - length : at].decode()
        found[name] = Entry(KINDS[letter], oid.hex(), size, key.hex())
    return found


def git_id(tree: Tree) -> str:
    """The id that git gives this tree. Git sorts a folder as if its name ended in a slash."""
    names = sorted(tree, key=lambda name: name.encode() + b"/" * tree[name].directory)
    body = b"".join(
        (b"40000 " if tree[name].directory else b"100644 ")
        + name.encode()
        + b"\0"
        + bytes.fromhex(tree[name].oid)
        for name in names
    )
    return object_id("tree", body)


def folder_entry(tree: Tree) -> Entry:
    """What stands for this tree in the folder above."""
    key = hashlib.sha256(encode(tree)).hexdigest()
    return Entry("directory", git_id(tree), sum(entry.size for entry in tree.values()), key)


class _Cache:
    """Decoded trees, the least used dropped first. Trees never change, so none is ever stale."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, dict[str, Entry]] = OrderedDict()
        self._entries = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> dict[str, Entry] | None:
        with self._lock:
            tree = self._held.get(key)
            if tree is not None:
                self._held.move_to_end(key)
            return tree

    def add(self, key: str, tree: dict[str, Entry]) -> None:
        with self._lock:
            if key in self._held:
                return
            self._held[key] = tree
            self._entries += len(tree)
            while self._entries * PER_ENTRY > CACHED and len(self._held) > 1:
                self._entries -= len(self._held.popitem(last=False)[1])


_cache = _Cache()


def load(connection: Connection, key: str) -> Tree:
    """The tree of that key. Do not change what comes back."""
    tree = _cache.get(key)
    if tree is None:
        data = connection.execute(select(trees.c.data).where(trees.c.key == key)).scalar_one()
        tree = decode(data)
        _cache.add(key, tree)
    return tree


def save(connection: Connection, tree: Tree) -> Entry:
    """Store a tree, unless it is there, and return what stands for it in the folder above."""
    entry = folder_entry(tree)
    there = select(trees.c.key).where(trees.c.key == entry.key)
    if connection.execute(there).first() is None:
        data = encode(tree)
        if connection.dialect.name == "sqlite":
            connection.execute(trees.insert(), {"key": entry.key, "data": data})
        else:
            from sqlalchemy.dialects.postgresql import insert

            added = insert(trees).values(key=entry.key, data=data).on_conflict_do_nothing()
            connection.execute(added)
    return entry


def find(connection: Connection, root: str, path: str) -> Entry | None:
    """The file or folder at `path` below the tree `root`; None when there is none."""
    *folders, name = path.split("/")
    key = root
    for folder in folders:
        entry = load(connection, key).get(folder)
        if entry is None or not entry.directory:
            return None
        key = entry.key
    return load(connection, key).get(name)


def walk(
    connection: Connection, root: str, *, prefix: str = "", folders: bool = False
) -> Iterator[tuple[str, Entry]]:
    """All files below, with their paths, in order; with `folders`, those too, before what is in
    them."""
    for name, entry in sorted(load(connection, root).items()):
        path = prefix + name
        if not entry.directory:
            yield path, entry
            continue
        if folders:
            yield path, entry
        yield from walk(connection, entry.key, prefix=path + "/", folders=folders)


def changed(connection: Connection, root: str | None, changes: Mapping[str, Entry | None]) -> Entry:
    """Store the tree that `root` (None: empty) becomes with `changes`: path to new entry, or to
    None for what goes. Only the folders on the way are written. A file takes the place of a folder
    of its name, and the other way round; empty folders vanish, as in git."""
    tree = dict(load(connection, root)) if root else {}
    below: dict[str, dict[str, Entry | None]] = {}
    for path, entry in changes.items():
        name, slash, rest = path.partition("/")
        if slash:
            below.setdefault(name, {})[rest] = entry
        elif entry is None:
            tree.pop(name, None)
        else:
            tree[name] = entry
    for name, parts in below.items():
        old = tree.get(name)
        part = changed(connection, old.key if old and old.directory else None, parts)
        if load(connection, part.key):
            tree[name] = part
        elif old is None or old.directory:
            tree.pop(name, None)
    return save(connection, tree)


def differences(
    connection: Connection, old: str | None, new: str | None, prefix: str = ""
) -> Iterator[tuple[str, Entry | None, Entry | None]]:
    """Files that differ between two trees: path, entry before, entry after; folders that are the
    same are not opened."""
    before: Tree = load(connection, old) if old else {}
    after: Tree = load(connection, new) if new else {}
    for name in sorted(before.keys() | after.keys()):
        one, two = before.get(name), after.get(name)
        if one == two:
            continue
        path = prefix + name
        folder_one = one.key if one and one.directory else None
        folder_two = two.key if two and two.directory else None
        file_one, file_two = (
            None if one and one.directory else one,
            None if two and two.directory else two,
        )
        if file_one or file_two:
            yield path, file_one, file_two
        if folder_one or folder_two:
            yield from differences(connection, folder_one, folder_two, path + "/")


def paths_exist(connection: Connection, root: str, paths: Iterable[str]) -> list[str]:
    """Those of `paths` that are a file or a folder of the tree."""
    return [path for path in paths if find(connection, root, path)]
