"""Folders of a version: looked up, walked, compared, changed. They are kept once for all versions
and repositories that share them; see entries.py and pieces.py for how."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, select

from llmos.hub.database.missing import add_missing
from llmos.hub.database.tables import trees
from llmos.hub.errors import HubError
from llmos.hub.git import pieces
from llmos.hub.git.cache import Cache
from llmos.hub.git.entries import Entry, Piece, Tree, decode, git_lines, in_order, key_of, rank

__all__ = ["Entry", "Tree"]
CACHED = 64 << 20  # bytes of decoded folders that are kept in memory, about
PER_ENTRY = 400  # bytes that a decoded entry takes, about

_rows: Cache[dict[str, Entry] | list[Piece]] = Cache(CACHED)
_lines: Cache[bytes] = Cache(CACHED // 4)
_ONE = select(trees.c.data).where(trees.c.key == bindparam("key"))


def folder_entry(tree: Tree) -> Entry:
    """What stands for a folder with these entries in the folder above."""
    return pieces.draft(tree).entry


def _row(connection: Connection, key: str) -> dict[str, Entry] | list[Piece]:
    found = _rows.get(key)
    if found is None:
        found = _decoded(key, connection.execute(_ONE, {"key": key}).scalar_one())
        _rows.add(key, found, PER_ENTRY * (len(found) + 1))
    return found


def _decoded(key: str, data: bytes) -> dict[str, Entry] | list[Piece]:
    """Raises `HubError` 503 for bytes that are not those that were stored."""
    if key_of(data) != key:
        raise HubError(503, f"The tree {key} is damaged: the hub's admin can restore it")
    return decode(data)


def _fetch(connection: Connection, keys: Sequence[str]) -> None:
    """Have these rows in memory: a statement for many, where one for each would take long."""
    absent = [key for key in keys if _rows.get(key) is None]
    for start in range(0, len(absent), 500):
        some = select(trees.c.key, trees.c.data).where(trees.c.key.in_(absent[start : start + 500]))
        for key, data in connection.execute(some):
            row = _decoded(key, data)
            _rows.add(key, row, PER_ENTRY * (len(row) + 1))


def _leaves(connection: Connection, listed: Sequence[Piece]) -> list[Piece]:
    """The lowest pieces below a list of pieces."""
    _fetch(connection, [piece.key for piece in listed])
    found: list[Piece] = []
    for piece in listed:
        row = _row(connection, piece.key)
        found += _leaves(connection, row) if isinstance(row, list) else [piece]
    return found


def load(connection: Connection, key: str) -> Tree:
    """All entries of the folder of that key. Do not change what comes back."""
    row = _row(connection, key)
    if isinstance(row, dict):
        return row
    whole: dict[str, Entry] = {}
    for piece in _leaves(connection, row):
        whole.update(load(connection, piece.key))
    return whole


def entry_in(connection: Connection, key: str, name: str) -> Entry | None:
    """One entry of the folder of that key; a large folder is opened only where it must be."""
    row = _row(connection, key)
    if isinstance(row, dict):
        return row.get(name)
    for place in (name.encode(), name.encode() + b"/"):  # as a file, as a folder
        at = bisect_right(row, place, key=lambda piece: piece.rank) - 1
        found = entry_in(connection, row[at].key, name) if at >= 0 else None
        if found is not None:
            return found
    return None


def find(connection: Connection, root: str, path: str) -> Entry | None:
    """The file or folder at `path` below the folder `root`; None when there is none."""
    *folders, name = path.split("/")
    key = root
    for folder in folders:
        entry = entry_in(connection, key, folder)
        if entry is None or not entry.directory:
            return None
        key = entry.key
    return entry_in(connection, key, name)


def ordered(connection: Connection, key: str, after: bytes = b"") -> Iterator[tuple[str, Entry]]:
    """The entries of a folder in git's order; pieces of a large one that end before the rank
    `after` are not opened."""
    row = _row(connection, key)
    if isinstance(row, dict):
        yield from in_order(row)
        return
    first = max(bisect_right(row, after, key=lambda piece: piece.rank) - 1, 0) if after else 0
    for piece in row[first:]:
        yield from ordered(connection, piece.key, after)


def walk(
    connection: Connection,
    root: str,
    *,
    prefix: str = "",
    folders: bool = False,
    after: bytes = b"",
) -> Iterator[tuple[str, Entry]]:
    """All files below, with their paths, in git's order: by the bytes of the paths. With `folders`,
    those too, before what is in them. With `after`, the rank of an entry as a path below `root`
    (a folder's ends in a slash), what comes after it."""
    for name, entry in ordered(connection, root, after):
        place = rank(name, entry)
        inside = after.removeprefix(place) if entry.directory and after.startswith(place) else b""
        here = after.startswith(place) if entry.directory else False
        if place <= after and not here:
            continue
        path = prefix + name
        if not entry.directory:
            yield path, entry
            continue
        if folders and not here:
            yield path, entry
        yield from walk(connection, entry.key, prefix=path + "/", folders=folders, after=inside)


@dataclass(slots=True)
class Draft:
    """A version's root that is not stored yet, with the rows that it adds."""

    entry: Entry
    rows: dict[str, bytes] = field(default_factory=dict)


def draft(connection: Connection, root: str | None, changes: Mapping[str, Entry | None]) -> Draft:
    """The folder that `root` (None: empty) becomes with `changes`: path to new entry, or to None
    for what goes. Only the folders on the way are made anew. A file takes the place of a folder of
    its name, and the other way round; empty folders vanish, as in git. Nothing is written."""
    rows: dict[str, bytes] = {}
    made = _drafted(connection, root, changes, rows)
    return Draft(made.entry, rows)


def _drafted(
    connection: Connection,
    root: str | None,
    changes: Mapping[str, Entry | None],
    rows: dict[str, bytes],
) -> pieces.Folder:
    edits: dict[str, Entry | None] = {}
    below: dict[str, dict[str, Entry | None]] = {}
    for path, entry in changes.items():
        name, slash, rest = path.partition("/")
        if slash:
            below.setdefault(name, {})[rest] = entry
        else:
            edits[name] = entry
    for name, parts in below.items():
        old = edits[name] if name in edits else entry_in(connection, root, name) if root else None
        inside = old.key if old and old.directory else None
        part = _drafted(connection, inside, parts, rows)
        if part.count:
            edits[name] = part.entry
        elif old is None or old.directory:
            edits[name] = None
    row = _row(connection, root) if root else {}
    if isinstance(row, dict):
        tree = {name: entry for name, entry in row.items() if name not in edits}
        tree |= {name: entry for name, entry in edits.items() if entry is not None}
        made = pieces.draft(tree)
        if made.count <= pieces.WHOLE:  # the next commit will ask for it
            _rows.add(made.entry.key, tree, PER_ENTRY * (made.count + 1))
    else:
        leaves = _leaves(connection, row)
        made = pieces.redraft(
            leaves,
            edits,
            lambda piece: load(connection, piece.key),
            lambda piece: _piece_lines(connection, piece),
        )
    rows |= made.rows
    return made


def _piece_lines(connection: Connection, piece: Piece) -> bytes:
    lines = _lines.get(piece.key)
    if lines is None:
        lines = git_lines(in_order(load(connection, piece.key)))
        _lines.add(piece.key, lines, len(lines) + 100)
    return lines


def store(connection: Connection, drafted: Draft) -> None:
    """Write down what a draft adds; rows that are there stay."""
    rows = [{"key": key, "data": data} for key, data in sorted(drafted.rows.items())]
    add_missing(connection, trees, rows)


def changed(connection: Connection, root: str | None, changes: Mapping[str, Entry | None]) -> Entry:
    """The same as `draft`, stored."""
    drafted = draft(connection, root, changes)
    store(connection, drafted)
    return drafted.entry


def row_keys(connection: Connection, root: str, seen: set[str]) -> Iterator[str]:
    """Keys of all rows that the folder `root` needs, but for those in `seen`, which it adds to."""
    if root in seen:
        return
    seen.add(root)
    yield root
    row = _row(connection, root)
    for part in row if isinstance(row, list) else row.values():
        if isinstance(part, Piece) or part.directory:
            yield from row_keys(connection, part.key, seen)


def differences(
    connection: Connection, old: str | None, new: str | None, prefix: str = ""
) -> Iterator[tuple[str, Entry | None, Entry | None]]:
    """Files that differ between two folders: path, entry before, entry after; folders, and pieces
    of large ones, that are the same are not opened."""
    before, after = _apart(connection, old, new)
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


def _apart(connection: Connection, old: str | None, new: str | None) -> tuple[Tree, Tree]:
    """The entries of two folders, without pieces that both have."""
    row_one = _row(connection, old) if old else {}
    row_two = _row(connection, new) if new else {}
    if not (isinstance(row_one, list) and isinstance(row_two, list)):
        return (load(connection, old) if old else {}), (load(connection, new) if new else {})
    one, two = _leaves(connection, row_one), _leaves(connection, row_two)
    both = {piece.key for piece in one} & {piece.key for piece in two}
    sides: list[dict[str, Entry]] = []
    for leaves in (one, two):
        sides.append({})
        for piece in leaves:
            if piece.key not in both:
                sides[-1].update(load(connection, piece.key))
    return sides[0], sides[1]
