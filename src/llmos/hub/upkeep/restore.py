"""`llmos hub restore`: a backup put into an empty hub, every hash checked on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, func, select, update

from llmos.errors import UsageError
from llmos.hub.accounts import audit
from llmos.hub.database import migrate
from llmos.hub.database.connection import Database, reachable
from llmos.hub.database.tables import accounts, blobs, meta
from llmos.hub.settings import HubSettings
from llmos.hub.storage.store import open_store
from llmos.hub.upkeep.backup_folder import Manifest, file_is, read_manifest, take_blob
from llmos.hub.upkeep.rows import read_rows
from llmos.storage import storage_errors


@dataclass(slots=True)
class Restored:
    """What came back; `damaged` are blobs that the backup has not, or not whole."""

    manifest: Manifest
    blobs: int = 0
    damaged: list[str] = field(default_factory=list)


def restore(
    settings: HubSettings, folder: Path, *, progress: Callable[[int], None] = lambda size: None
) -> Restored:
    """Fill an empty hub from a backup.

    Rows and blobs, each re-hashed, in one transaction: what breaks off leaves a hub that is still
    empty, and can be done again. A blob that is damaged in the backup is marked so. Raises
    `UsageError` when the hub is not empty or the folder is no whole backup.
    """
    manifest = read_manifest(folder)
    file = folder / manifest.database
    if not file_is(file, manifest.database_sha256):
        raise UsageError(f"{file} is not what was written: it is damaged, use another backup")
    with storage_errors(settings.folder):
        settings.folder.mkdir(parents=True, exist_ok=True)
    url = settings.database_url
    migrate.upgrade(url, to=manifest.revision)
    done = Restored(manifest)
    database = Database(url, threads=1)
    try:
        with reachable(url), database.write() as connection:
            if connection.execute(select(func.count()).select_from(accounts)).scalar():
                raise UsageError("that hub is not empty: restore into a new one")
            connection.execute(meta.delete())
            counts = read_rows(connection, file)
            if any(counts.get(name, 0) != count for name, count in manifest.rows.items()):
                raise UsageError(f"{file} has not the rows that its manifest names")
            _take_blobs(connection, settings, folder, done, progress)
    finally:
        database.close()
    migrate.upgrade(url)
    return done


def _take_blobs(
    connection: Connection,
    settings: HubSettings,
    folder: Path,
    done: Restored,
    progress: Callable[[int], None],
) -> None:
    store = open_store(settings)
    for row in connection.execute(select(blobs.c.sha256, blobs.c.size)).all():
        if done.manifest.with_blobs:
            good = take_blob(store, settings.temporary, folder, row.sha256)
        else:
            good = store.size(row.sha256) == row.size
        done.blobs += good
        if not good:
            done.damaged.append(row.sha256)
            reason = {"state": "damaged", "reason": "is not in the backup"}
            connection.execute(update(blobs).where(blobs.c.sha256 == row.sha256).values(**reason))
        progress(row.size)
    made_at = done.manifest.made_at
    audit.record(connection, "llmos hub restore", "hub.restore", "hub", made_at=made_at)
