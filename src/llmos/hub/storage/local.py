"""Blobs as files: FOLDER/ab/cd/<sha256>."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from llmos.hub.errors import HubError
from llmos.hub.storage.staging import Arrived, disk_errors
from llmos.hub.storage.store import StoredBlob

PIECE = 1 << 21  # bytes read at once: 64 KiB serve a quarter as fast, 1 MiB a sixth slower
QUICK = 1 << 16  # bytes; a larger file is always waited for

_libc = ctypes.CDLL(None, use_errno=True)


class LocalStore:
    """A folder of blobs; the same folder may serve several processes."""

    direct = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._made = self._durable()
        self._making = threading.Lock()

    def _durable(self) -> set[Path]:
        """The folders of blobs that are there, once their names are on the disk: a process that
        was killed may have left some that are not."""
        firsts = [Path(one) for one in os.scandir(self.folder) if len(one.name) == 2]
        for folder in (self.folder, *firsts):
            _sync(folder)
        return {*firsts, *(Path(one) for folder in firsts for one in os.scandir(folder))}

    def _file(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256[2:4] / sha256

    def put(self, staged: Arrived) -> None:
        """See `BlobStore.put`: fsync, rename, fsync of the folder."""
        target = self._file(staged.sha256)
        if staged.size > QUICK and self._has(staged, target):
            return  # a small one may be there by `put_quickly` only
        staged.sync()
        with disk_errors():
            self._make(target.parent)
            staged.path.chmod(0o644)
            os.replace(staged.path, target)
            _sync(target.parent)

    def put_quickly(self, staged: Arrived, *, anew: bool = False) -> bool:
        """See `BlobStore.put_quickly`: a small file is only renamed."""
        if staged.size > QUICK:
            self.put(staged)
            return True
        target = self._file(staged.sha256)
        if anew or not self._has(staged, target):
            with disk_errors():
                staged.path.chmod(0o644)
                try:
                    os.replace(staged.path, target)
                except FileNotFoundError:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(staged.path, target)
        return False

    def sync(self) -> None:
        """See `BlobStore.sync`: all of the file system at once, which takes hardly longer than one
        file. Errors since the last time are raised (Linux 5.8 and later)."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            with disk_errors():
                if _libc.syncfs(descriptor):
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number), str(self.folder))
        finally:
            os.close(descriptor)

    def _has(self, staged: Arrived, target: Path) -> bool:
        """Whether the blob is there; it is then as young as if it had come now, for the collection.
        A small one is compared: a crash may have left its name without its bytes."""
        try:
            os.utime(target)
            return staged.size > QUICK or target.read_bytes() == staged.path.read_bytes()
        except FileNotFoundError:
            return False

    def _make(self, folder: Path) -> None:
        """Make a folder of blobs, its name on the disk before it is used."""
        if folder in self._made:
            return
        with self._making:
            folder.mkdir(parents=True, exist_ok=True)
            _sync(folder.parent)
            if folder.parent not in self._made:
                _sync(self.folder)
            self._made |= {folder, folder.parent}

    def size(self, sha256: str) -> int | None:
        """See `BlobStore.size`."""
        try:
            return self._file(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, sha256: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `BlobStore.read`."""
        try:
            file = self._file(sha256).open("rb")
        except FileNotFoundError:
            raise HubError(404, f"The hub has lost the blob {sha256}") from None
        with file:
            file.seek(start)
            left = None if stop is None else stop - start
            while left is None or left > 0:
                piece = file.read(PIECE if left is None else min(PIECE, left))
                if not piece:
                    return
                left = None if left is None else left - len(piece)
                yield piece

    def path(self, sha256: str) -> Path | None:
        """See `BlobStore.path`."""
        return self._file(sha256)

    def link(self, sha256: str, *, seconds: int, filename: str) -> str | None:
        """See `BlobStore.link`: a local disk offers none."""
        return None

    def list(self) -> Iterator[StoredBlob]:
        """See `BlobStore.list`."""
        for path in self.folder.glob("??/??/" + "?" * 64):
            about = path.stat()
            yield StoredBlob(path.name, about.st_size, about.st_mtime_ns // 1_000_000)

    def delete(self, sha256: str) -> None:
        """See `BlobStore.delete`."""
        self._file(sha256).unlink(missing_ok=True)

    def delete_old(self, sha256: str, before: int) -> bool:
        """See `BlobStore.delete_old`. Out of the way first, then looked at: whoever puts the same
        blob meanwhile either has made it young, which shows, or does not find it and writes it."""
        file = self._file(sha256)
        leaving = file.with_name(f"{sha256}.leaving")
        try:
            if file.stat().st_mtime_ns // 1_000_000 >= before:
                return False
            os.replace(file, leaving)
        except FileNotFoundError:
            return True
        if leaving.stat().st_mtime_ns // 1_000_000 >= before:
            os.replace(leaving, file)
            return False
        leaving.unlink()
        return True

    def set_aside(self, sha256: str) -> None:
        """See `BlobStore.set_aside`: moved to FOLDER/damaged."""
        place = self.folder / "damaged" / sha256
        place.parent.mkdir(exist_ok=True)
        os.replace(self._file(sha256), place)


def _sync(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
