"""What a commit changes, checked against the files that are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from llmos.hub.errors import HubError, entry_not_found
from llmos.hub.git import trees
from llmos.hub.repos.names import checked_path


@dataclass(slots=True)
class Changes:
    """What a commit does: files added or replaced, files and folders removed.

    What is removed goes first, so that a file that is removed and added is new.
    """

    title: str
    message: str = ""
    parent: str | None = None  # the commit that the caller saw last
    added: dict[str, trees.Entry] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)  # files
    removed_folders: list[str] = field(default_factory=list)
    removed_entries: list[str] = field(default_factory=list)  # files or folders
    arrived: dict[str, bytes] = field(default_factory=dict)  # by sha256: perhaps not on a disk yet

    @property
    def paths(self) -> list[str]:
        """All paths that are spoken of."""
        return [*self.added, *self.removed, *self.removed_folders, *self.removed_entries]


def edits_of(connection: Connection, root: str, changes: Changes) -> dict[str, trees.Entry | None]:
    """What `changes` do to the folder `root`: path to new entry, or to None for what goes.

    Raises `HubError` 404 when a file or folder to remove is not there, 422 for a path that is
    refused.
    """
    edits: dict[str, trees.Entry | None] = {}
    asked = [
        *((path, "file") for path in changes.removed),
        *((path, "folder") for path in changes.removed_folders),
        *((path, "either") for path in changes.removed_entries),
    ]
    for given, what in asked:
        path = checked_path(given, folder=what != "file")
        entry = trees.find(connection, root, path)
        if entry is None or what == ("file" if entry.directory else "folder"):
            kind = "folder" if what == "folder" else "file"
            raise entry_not_found(f'A {kind} with this name doesn\'t exist: "{given}"')
        edits[path] = None
    gone = set(edits)
    for given, entry in changes.added.items():
        path = checked_path(given)
        if other := _in_the_way(connection, root, path, gone) or _folder_in(path, changes.added):
            raise HubError(422, f"{other} cannot be a file and a folder at once: delete it first")
        edits[path] = entry
    return edits


def _in_the_way(connection: Connection, root: str, path: str, gone: set[str]) -> str | None:
    """A file where `path` needs a folder, or a folder where it is to be a file, unless it goes."""
    key, below = root, ""
    parts = path.split("/")
    for number, part in enumerate(parts, 1):
        below = f"{below}/{part}" if below else part
        entry = trees.entry_in(connection, key, part)
        if entry is None or below in gone:
            return None
        if not entry.directory:
            return below if number < len(parts) else None
        key = entry.key
    left = (name not in gone for name, _ in trees.walk(connection, key, prefix=path + "/"))
    return path if any(left) else None


def _folder_in(path: str, added: Mapping[str, trees.Entry]) -> str | None:
    """A folder of `path` that the same commit adds as a file."""
    parts = path.split("/")
    above = ("/".join(parts[:end]) for end in range(1, len(parts)))
    return next((folder for folder in above if folder in added), None)
