"""Put a new folder in the place of an old one, as a whole."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from pathlib import Path

from llmos.storage import fsync_folder, storage_errors

_AT_FDCWD = -100
_SWAP = 2  # RENAME_EXCHANGE of renameat2(2), RENAME_SWAP of macOS's renamex_np(2)
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


def exchange(new: Path, old: Path) -> None:
    """`new` takes the name of `old`, in one step, and `old` is removed.

    Both lie in the same folder. On a file system that cannot swap two names (NFS), `old` is out of
    the way for a moment: readers find no folder then, never a part; after a crash just there
    `repair` brings it back. Raises `StorageError`.
    """
    with storage_errors(old):
        if _swap(new, old):
            fsync_folder(old.parent)
            shutil.rmtree(new)
            return
        os.rename(old, _aside(old))
        os.rename(new, old)
        fsync_folder(old.parent)
        shutil.rmtree(_aside(old))


def repair(folder: Path) -> None:
    """Finish or undo an exchange that was killed between its steps."""
    aside = _aside(folder)
    with storage_errors(folder):
        if not aside.exists():
            return
        if folder.exists():
            shutil.rmtree(aside)
        else:
            os.rename(aside, folder)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.before")


def _swap(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where the system cannot."""
    library = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "darwin":
            failed = library.renamex_np(first, second, _SWAP)
        else:
            failed = library.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _SWAP)
    except AttributeError:  # an old C library
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number))
