"""Files that come in numbered parts, in any order, each as often as it takes.

FOLDER/tmp/multipart/<key>/data holds each part at its place, `<number>.done` says that a part is
whole. So the file needs no copying at the end, parts outlive a restart of the hub, and one that is
sent again replaces itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos.hub.errors import bad_request, conflict
from llmos.hub.hub import Hub
from llmos.hub.storage.staging import Assembled, disk_errors

MOST_PARTS = 10_000
REMEMBERED = 256  # uploads whose hash is counted while their parts come


@dataclass(frozen=True, slots=True)
class Plan:
    """One file that comes in parts of `part_size` bytes; the last one may be shorter."""

    repo_id: int
    sha256: str
    size: int
    part_size: int

    @property
    def count(self) -> int:
        """How many parts there are; they are numbered from 1."""
        return -(-self.size // self.part_size)

    @property
    def key(self) -> str:
        """What tells this upload from others."""
        return f"{self.repo_id}-{self.sha256}-{self.size}-{self.part_size}"

    def bytes_of(self, number: int) -> int:
        """The size of one part."""
        return min(self.part_size, self.size - (number - 1) * self.part_size)


def part_size_for(hub: Hub, size: int) -> int:
    """The parts' size for a file: the settings', or more where there would be too many parts."""
    return max(hub.settings.part_size, -(-size // MOST_PARTS))


class _Hashes:
    """Hashes of uploads whose parts came strictly one after another so far: to count them again at
    the end would take longer than clients wait for the answer."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, tuple[int, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def after(self, key: str, parts: int) -> Any | None:
        """A copy of the hash over the first `parts` parts; None: not known."""
        if parts == 0:
            return hashlib.sha256()
        with self._lock:
            known, digest = self._held.get(key, (0, None))
            return digest.copy() if known == parts else None

    def note(self, key: str, parts: int, digest: Any) -> None:
        """Remember the hash over the first `parts` parts."""
        with self._lock:
            self._held[key] = (parts, digest)
            self._held.move_to_end(key)
            while len(self._held) > REMEMBERED:
                self._held.popitem(last=False)


_hashes = _Hashes()


class Part:
    """Takes one part; use it in a `with` block.

    As long as a part is being written, the file cannot be assembled: it holds a shared lock. The
    length of `begun` is the number of parts that were ever begun: only if part n was always the
    n-th to begin, after the one before was kept, is the hash counted on the way the file's.
    """

    def __init__(self, hub: Hub, plan: Plan, number: int) -> None:
        """Raises `HubError` 400 for a number that the plan does not have, 409 while the file is
        being assembled."""
        if not 1 <= number <= plan.count:
            raise bad_request(f"there are parts 1 to {plan.count}, not {number}")
        self.plan, self.number, self.size = plan, number, 0
        self._folder = _folder(hub, plan)
        with disk_errors():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self._folder, fcntl.LOCK_SH)
            try:
                with (self._folder / "begun").open("ab") as begun:
                    begun.write(b".")
                (self._folder / f"{number}.done").unlink(missing_ok=True)
                descriptor = os.open(self._folder / "data", os.O_RDWR | os.O_CREAT, 0o644)
            except BaseException:
                os.close(self._lock)
                raise
        in_order = _begun(self._folder) == number
        self._digest = _hashes.after(plan.key, number - 1) if in_order else None
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._file.seek((number - 1) * plan.part_size)

    def write(self, piece: bytes) -> None:
        """Take the next bytes. Raises `HubError` 400 for too many, 507 when the disk is full."""
        self.size += len(piece)
        if self.size > self.plan.bytes_of(self.number):
            raise bad_request(f"part {self.number} is longer than announced")
        with disk_errors():
            rest = memoryview(piece)
            while rest:
                rest = rest[self._file.write(rest) :]
        if self._digest is not None:
            self._digest.update(piece)

    def keep(self) -> str:
        """The part is whole: write that down; returns its ETag. Raises `HubError` 400, 507."""
        if self.size != self.plan.bytes_of(self.number):
            raise bad_request(f"part {self.number} was cut off at {self.size:,} bytes")
        with disk_errors():
            os.fdatasync(self._file.fileno())
            (self._folder / f"{self.number}.done").touch()
        if self._digest is not None and _begun(self._folder) == self.number:
            _hashes.note(self.plan.key, self.number, self._digest)
        return f'"{self.plan.sha256[:16]}-{self.number}"'

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        os.close(self._lock)


@contextmanager
def assembled(hub: Hub, plan: Plan) -> Iterator[Assembled]:
    """The whole file, checked, for as long as the block takes; then its parts are gone.

    Raises `HubError` 400 when parts are missing or wrong, 409 while some are still arriving.
    """
    folder = _folder(hub, plan)
    if not folder.exists():
        raise bad_request("no part of this file has come yet")
    lock = _locked(folder, fcntl.LOCK_EX)
    try:
        marks = {path.name for path in folder.glob("*.done")}
        missing = [at for at in range(1, plan.count + 1) if f"{at}.done" not in marks]
        if missing:
            raise bad_request(f"{len(missing)} parts have not come yet, the first is {missing[0]}")
        file = _data(hub, folder, plan)
        found = _sha256(folder, file, plan)
        if found == plan.sha256:
            yield Assembled(file, plan.sha256, plan.size)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
    if found != plan.sha256:
        raise bad_request(
            f"sha256 of what came is {found}, {plan.sha256} was announced: send all parts again"
        )


def _data(hub: Hub, folder: Path, plan: Plan) -> Path:
    """Where the parts are: in the folder; or in the store already, when it took the file and the
    database then could not write that down. Raises `HubError` 400."""
    stored = hub.blobs.path(plan.sha256)
    for file in (folder / "data", stored):
        if file is not None and file.exists():
            return file
    shutil.rmtree(folder, ignore_errors=True)
    raise bad_request("the parts are not there any more: send all parts again")


def _sha256(folder: Path, file: Path, plan: Plan) -> str:
    if _begun(folder) == plan.count:
        digest = _hashes.after(plan.key, plan.count)
        if digest is not None:
            return str(digest.hexdigest())
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _begun(folder: Path) -> int:
    return (folder / "begun").stat().st_size


def _locked(folder: Path, kind: int) -> int:
    """A lock on an upload, as a descriptor to be closed. Raises `HubError` 409 when it is taken."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise conflict("The parts of this file are still at work: try again") from None
    return descriptor


def forget_old_parts(hub: Hub, older_than_ms: int) -> int:
    """Drop uploads of which nothing came since `older_than_ms` (milliseconds since 1970); returns
    the bytes that became free."""
    freed = 0
    for folder in (hub.settings.temporary / "multipart").glob("*"):
        files = [path.stat() for path in folder.iterdir()]
        newest = max((one.st_mtime for one in files), default=folder.stat().st_mtime)
        if newest * 1000 < older_than_ms:
            freed += sum(one.st_blocks * 512 for one in files)
            shutil.rmtree(folder, ignore_errors=True)
    return freed


def _folder(hub: Hub, plan: Plan) -> Path:
    return hub.settings.temporary / "multipart" / plan.key
