"""What a store of blobs can do, and `open_store`, which opens the one that the settings name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llmos.hub.settings import HubSettings
from llmos.hub.storage.staging import Arrived


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """One blob that a store lists; `modified` in milliseconds since 1970."""

    sha256: str
    size: int
    modified: int


class BlobStore(Protocol):
    """Blobs are added whole, never changed, and found by the sha256 of their bytes."""

    @property
    def direct(self) -> bool:
        """Whether clients fetch large blobs from the store itself, by `link`."""

    def put(self, staged: Arrived) -> None:
        """Keep a finished upload, durably, under its sha256; a blob already there stays."""

    def put_quickly(self, staged: Arrived, *, anew: bool = False) -> bool:
        """The same without waiting for the disk, where that saves time; whether the blob is durable
        nevertheless. One that is not must be kept elsewhere as well until `sync`. With `anew` it is
        written even if it is there."""

    def sync(self) -> None:
        """Make durable what `put_quickly` has kept."""

    def size(self, sha256: str) -> int | None:
        """Bytes of the blob; None when it is not there."""

    def read(self, sha256: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The blob's bytes from `start` up to `stop`, in pieces. Raises `HubError` 404 or 503."""

    def path(self, sha256: str) -> Path | None:
        """The file on this machine that holds the blob, where there is one."""

    def link(self, sha256: str, *, seconds: int, filename: str) -> str | None:
        """An address from which anybody may fetch the blob for a while; None: not offered."""

    def list(self) -> Iterator[StoredBlob]:
        """All blobs, in no particular order."""

    def delete(self, sha256: str) -> None:
        """Remove a blob; nothing happens when it is not there."""

    def delete_old(self, sha256: str, before: int) -> bool:
        """Remove a blob unless it was put, again or for the first time, after `before`
        (milliseconds since 1970); whether it is gone."""

    def set_aside(self, sha256: str) -> None:
        """Keep a damaged blob out of reach, for a person to look at."""


def open_store(settings: HubSettings) -> BlobStore:
    """The store that `settings.storage` names."""
    if settings.storage.startswith("s3://"):
        from llmos.hub.storage.s3 import S3Store  # needs obstore

        return S3Store(settings.storage, settings.storage_endpoint)
    from llmos.hub.storage.local import LocalStore

    return LocalStore(settings.folder / "blobs")
