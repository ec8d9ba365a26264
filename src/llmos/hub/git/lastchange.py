"""Which commit last changed each of some paths."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row

from llmos.hub.git import trees, versions
from llmos.hub.git.cache import Cache

FARTHEST = 20_000  # commits that are looked back at
KEPT = 200_000  # answers that are kept in memory

Wanted = dict[str, "Wanted | None"]  # by name: a folder's paths, or None for the path itself

_answers: Cache[Row[Any]] = Cache(KEPT)


def last_changes(
    connection: Connection, repo_id: int, head: Row[Any], paths: Iterable[str]
) -> dict[str, Row[Any]]:
    """The newest commit in the history of `head` that changed each path (a file, or a folder: what
    is in it); paths that are not there, or not changed for very long, are left out.

    Each commit is compared with the one before it, only where they differ and only for paths that
    are still looked for; answers are kept, so that a new commit costs one comparison.
    """
    found: dict[str, Row[Any]] = {}
    missing = {path for path in paths if trees.find(connection, head.tree, path)}
    asked = set(missing)
    newer: Row[Any] | None = None
    for steps, row in enumerate(versions.history(connection, repo_id, head.oid)):
        if newer is not None:
            changed = set(_changed(connection, newer.tree, row.tree, _by_folder(missing)))
            found |= dict.fromkeys(changed, newer)
            missing -= changed
        known = {path: _answers.get((repo_id, row.oid, path)) for path in missing}
        found |= {path: commit for path, commit in known.items() if commit is not None}
        missing -= found.keys()
        newer = row
        if not missing or steps > FARTHEST:
            break
    else:
        if newer is not None:  # the first commit made what is left
            found |= dict.fromkeys(missing, newer)
    for path in asked & found.keys():
        _answers.add((repo_id, head.oid, path), found[path], 1)
    return found


def _by_folder(paths: Iterable[str]) -> Wanted:
    wanted: Wanted = {}
    for path in sorted(paths):
        *folders, name = path.split("/")
        place = wanted
        for folder in folders:
            below = place.setdefault(folder + "/", {})
            assert below is not None
            place = below
        place[name] = None
    return wanted


def _changed(
    connection: Connection, new: str | None, old: str | None, wanted: Wanted, prefix: str = ""
) -> Iterable[str]:
    """Those of the wanted paths that differ between two folders."""
    if new == old:
        return
    for name, below in wanted.items():
        plain = name.removesuffix("/")
        one = trees.entry_in(connection, new, plain) if new else None
        two = trees.entry_in(connection, old, plain) if old else None
        if one == two:
            continue
        if below is None:
            yield prefix + name
        else:
            yield from _changed(connection, _folder(one), _folder(two), below, prefix + name)


def _folder(entry: trees.Entry | None) -> str | None:
    return entry.key if entry and entry.directory else None
