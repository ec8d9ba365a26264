"""Files that survive a crash: atomic writes, hashes, locks. Standard library only."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from llmos.errors import StorageError


def sha256_hex(data: bytes | memoryview) -> str:
    """SHA-256 of `data` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in chunks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn operating-system write errors on `path` into a one-line `StorageError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageError(
                f"no space left while writing {path}: free some disk space and resume; "
                "what was written before is intact"
            ) from error
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def atomic_writer(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of `path` when the block ends without an error.

    A reader sees the old file or the new one, never a part: temporary file in the same folder,
    flush, fsync (when `durable`), rename, fsync of the folder. Raises `StorageError` when the disk
    is full or the folder cannot be written.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if durable:
            fsync_folder(path.parent)


def write_atomic(path: Path, data: bytes | memoryview, *, durable: bool = True) -> None:
    """Write `data` so that a reader sees the old file or the new one (see `atomic_writer`)."""
    with atomic_writer(path, durable=durable) as file:
        file.write(data)


def fsync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def exclusive_lock(path: Path, held: str) -> Iterator[None]:
    """Hold an advisory lock on `path` (made if missing) for the length of the block.

    Raises `StorageError` with the text `held` when another process holds it. The operating system
    releases the lock when the process dies, however it dies.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(held) from error
        except OSError as error:
            raise StorageError(
                f"cannot lock {path} ({error.strerror or error}): choose a folder on a file system "
                "with locks"
            ) from error
        yield
    finally:
        file.close()


def require_free_space(folder: Path, needed: int, purpose: str) -> None:
    """Raise `StorageError` when the disk of `folder` has fewer than `needed` bytes free."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise StorageError(
            f"{purpose} needs about {needed / 1e6:.0f} MB in {folder}, "
            f"but only {free / 1e6:.0f} MB are free: free some space or choose another folder"
        )
