"""`llmos hub backup`: a running hub copied to a folder, and only what is new the next time.

The database first, as it is at one moment, then the blobs that it names: those are only ever added,
so all are there. The manifest comes last; until then the folder holds the backup before.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select

from llmos import __version__
from llmos.hub.accounts import audit
from llmos.hub.database import migrate
from llmos.hub.database.connection import now
from llmos.hub.database.tables import blobs
from llmos.hub.errors import HubError
from llmos.hub.hub import Hub
from llmos.hub.upkeep.backup_folder import Manifest, blob_file, write_manifest
from llmos.hub.upkeep.marking import batches
from llmos.hub.upkeep.rows import write_rows
from llmos.storage import (
    exclusive_lock,
    require_free_space,
    sha256_file,
    storage_errors,
)

AT_ONCE = 1000  # files copied between two syncs of the disk


def backup(
    hub: Hub,
    folder: Path,
    *,
    link: bool = False,
    with_blobs: bool = True,
    progress: Callable[[int], None] = lambda size: None,
) -> Manifest:
    """Copy the hub to `folder` and return what was written.

    A blob that is missing or damaged is named in the manifest and left out. With `link` blobs of a
    local store become hard links (no room needed, but a disk error hits both); without `with_blobs`
    the database alone is copied. `progress` is told of bytes copied. Raises `StorageError`.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with exclusive_lock(folder / "backup.lock", f"another backup to {folder} is running"):
        at = now()
        name = f"database-{at}.jsonl.gz"
        file = folder / name
        with storage_errors(folder), hub.database.snapshot() as connection:
            file.touch(mode=0o600)
            revision = migrate.current(connection)
            rows = write_rows(connection, file)
            held = {
                row.sha256: row.size
                for row in connection.execute(select(blobs.c.sha256, blobs.c.size))
            }
        os.sync()
        manifest = Manifest(
            made_at=at,
            llmos=__version__,
            revision=revision,
            database=name,
            database_sha256=sha256_file(file),
            rows=rows,
            blobs=len(held),
            bytes=sum(held.values()),
            with_blobs=with_blobs,
        )
        if with_blobs:
            manifest.missing = _copy_blobs(hub, folder, held, link, progress)
        write_manifest(folder, manifest)
        for old in folder.glob("database-*.jsonl.gz"):
            if old.name != name:
                old.unlink()
    with hub.database.write() as connection:
        audit.record(connection, "llmos hub backup", "hub.backup", "hub", blobs=len(held))
    return manifest


def _copy_blobs(
    hub: Hub, folder: Path, held: dict[str, int], link: bool, progress: Callable[[int], None]
) -> list[str]:
    wanted = [one for one, size in held.items() if not _there(blob_file(folder, one), size)]
    if not link:
        require_free_space(folder, sum(held[one] for one in wanted), "the backup")
    missing = []
    for some in batches(sorted(wanted), AT_ONCE):
        copies: list[tuple[Path, Path]] = []
        for sha256 in some:
            target = blob_file(folder, sha256)
            with storage_errors(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)  # one that was cut off
                if not (link and _linked(hub, sha256, target)):
                    copy = target.with_name(f"{sha256}.part")
                    if _copied(hub, sha256, copy):
                        copies.append((copy, target))
                    else:
                        copy.unlink(missing_ok=True)
                        missing.append(sha256)
            progress(held[sha256])
        os.sync()  # one for all: a file has its name only when its bytes are on the disk
        for copy, target in copies:
            os.replace(copy, target)
    os.sync()
    return missing


def _there(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _linked(hub: Hub, sha256: str, target: Path) -> bool:
    source = hub.blobs.path(sha256)
    if source is None:
        return False
    try:
        os.link(source, target)
    except OSError:  # another file system, or not there
        return False
    return True


def _copied(hub: Hub, sha256: str, copy: Path) -> bool:
    """Copy a blob, re-hashing it on the way; whether it was good."""
    digest = hashlib.sha256()
    try:
        with copy.open("wb") as file:
            for piece in hub.blobs.read(sha256):
                digest.update(piece)
                file.write(piece)
    except HubError:
        return False
    return digest.hexdigest() == sha256
