"""A backup as it lies on a disk: manifest.json, the rows of the database, blobs by their sha256."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from llmos.errors import UsageError
from llmos.hub.storage.staging import Staged
from llmos.hub.storage.store import BlobStore
from llmos.storage import write_atomic

FORMAT = 1
MANIFEST = "manifest.json"
PIECE = 1 << 20


@dataclass(slots=True)
class Manifest:
    """What a backup holds; times in milliseconds since 1970."""

    made_at: int
    llmos: str
    revision: str  # of the tables
    database: str  # the file's name
    database_sha256: str
    rows: dict[str, int]  # by table
    blobs: int
    bytes: int
    missing: list[str] = field(default_factory=list)  # blobs that could not be read
    with_blobs: bool = True  # False: they are in the hub's own store only
    format: int = FORMAT


def blob_file(folder: Path, sha256: str) -> Path:
    """Where a backup keeps a blob."""
    return folder / "blobs" / sha256[:2] / sha256[2:4] / sha256


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """The last thing that is written: with it the backup is whole."""
    write_atomic(folder / MANIFEST, json.dumps(asdict(manifest), indent=1).encode() + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup. Raises `UsageError`."""
    try:
        data = json.loads((folder / MANIFEST).read_bytes())
        if data["format"] != FORMAT:
            raise UsageError(f"{folder} is a backup of form {data['format']}: use a newer LLMOS")
        return Manifest(**data)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{folder} is no backup ({MANIFEST}: {error})") from error


def take_blob(store: BlobStore, temporary: Path, folder: Path, sha256: str) -> bool:
    """Put a blob of a backup into a store, if it is there and good; whether it was."""
    try:
        with blob_file(folder, sha256).open("rb") as file, Staged(temporary) as staged:
            while piece := file.read(PIECE):
                staged.write(piece)
            if staged.sha256 != sha256:
                return False
            store.put(staged)
            return True
    except FileNotFoundError:
        return False


def file_is(path: Path, sha256: str) -> bool:
    """Whether a file is there with this sha256."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False
