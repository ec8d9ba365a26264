"""Uploads on their way in: written to a temporary file while they are hashed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llmos.hub.errors import HubError, bad_request


@contextmanager
def disk_errors() -> Iterator[None]:
    """A full disk becomes 507 for the client; what was there before is intact."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise HubError(507, "The hub's disk is full; nothing was changed") from error
        raise


class Arrived(Protocol):
    """A file that is whole and waits to be handed to a store."""

    @property
    def path(self) -> Path:
        """Where it is, all of it written."""

    @property
    def sha256(self) -> str:
        """Of its bytes."""

    @property
    def size(self) -> int:
        """In bytes."""

    def sync(self) -> None:
        """Have all bytes on the disk."""


class Staged:
    """A file being received. Its sha256 and size are known at any time.

    Use it in a `with` block: what was not handed to a store is deleted at the end.
    """

    def __init__(self, folder: Path, *, hashed: bool = True) -> None:
        """Open a new temporary file in `folder`; with `hashed` off, the sha256 is not counted."""
        with disk_errors():
            folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=folder, prefix="up-")
        self._path = Path(name)
        self._file = os.fdopen(descriptor, "w+b", buffering=1 << 20)
        self._digest = hashlib.sha256()
        self._hashed = hashed
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes. Raises `HubError` 507 when the disk is full."""
        with disk_errors():
            self._file.write(data)
        if self._hashed:
            self._digest.update(data)
        self.size += len(data)

    @property
    def path(self) -> Path:
        """The file, with all bytes so far."""
        self.flush()
        return self._path

    @property
    def sha256(self) -> str:
        """Of all bytes so far."""
        return self._digest.hexdigest()

    def expect(self, *, sha256: str | None = None, size: int | None = None) -> None:
        """Raise `HubError` 400 unless the upload is what was announced."""
        if size is not None and self.size != size:
            raise bad_request(f"{self.size:,} bytes came, {size:,} were announced: send it again")
        if sha256 is not None and self.sha256 != sha256:
            raise bad_request(f"sha256 of what came is {self.sha256}, {sha256} was announced")

    def flush(self) -> None:
        """Have all bytes in the file, for whoever opens it."""
        with disk_errors():
            self._file.flush()

    def sync(self) -> None:
        """Have all bytes on the disk."""
        with disk_errors():
            self._file.flush()
            os.fsync(self._file.fileno())

    def __enter__(self) -> Staged:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # its last bytes found no room: nobody wants them now
            self._file.close()
        self._path.unlink(missing_ok=True)


def staged_bytes(folder: Path, pieces: Iterable[bytes]) -> Staged:
    """A finished upload of `pieces`."""
    staged = Staged(folder)
    try:
        for piece in pieces:
            staged.write(piece)
    except BaseException:
        staged.__exit__()
        raise
    return staged


@dataclass(frozen=True, slots=True)
class Assembled:
    """A file that is whole and whose sha256 was counted by somebody else; see `Arrived`."""

    path: Path
    sha256: str
    size: int

    def sync(self) -> None:
        """Have all bytes on the disk."""
        with disk_errors(), self.path.open("rb") as file:
            os.fsync(file.fileno())


@contextmanager
def small_file(folder: Path, content: bytes, sha256: str) -> Iterator[Assembled]:
    """A small file whose sha256 is known, written at once; deleted at the end if it is still there.
    Of a hub's `Staged` files it does without the buffers, which take longer than the writing."""
    path = folder / f"up-{secrets.token_hex(8)}"
    try:
        with disk_errors():
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield Assembled(path, sha256, len(content))
    finally:
        path.unlink(missing_ok=True)
