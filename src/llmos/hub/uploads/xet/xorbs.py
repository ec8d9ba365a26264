"""Xorbs that were received: unpacked, checked, kept till their files are built and a while longer.

A kept xorb is a file: the chunks' bytes, then the index (format.RECORD per chunk), then 8 bytes:
the number of chunks. A xorb may only be used from the repository that it was sent to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from sqlalchemy import delete, select

from llmos.hub.database.connection import now
from llmos.hub.database.tables import repos, xorbs
from llmos.hub.errors import HubError, bad_request
from llmos.hub.hub import Hub
from llmos.hub.storage.staging import Staged, disk_errors
from llmos.hub.uploads.xet.format import RECORD, Unpacker
from llmos.hub.uploads.xet.hashes import to_text

INDEX = np.dtype([("size", "<u4"), ("hash", "V32")])
TAIL = 8


class LostXorb(Exception):
    """A xorb that was sent is not there any more, or not whole."""


@dataclass(frozen=True, slots=True)
class Xorb:
    """An opened xorb: `ends` are where its chunks end, in bytes."""

    file: BinaryIO
    index: np.ndarray[Any, Any]
    ends: np.ndarray[Any, Any]

    @property
    def count(self) -> int:
        """How many chunks it has."""
        return len(self.index)

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Where the bytes of chunks start..stop begin and end."""
        return int(self.ends[start - 1]) if start else 0, int(self.ends[stop - 1])


class Receiver:
    """Takes one xorb; use it in a `with` block."""

    def __init__(self, hub: Hub, repo_id: int, name: str) -> None:
        self.hub, self.repo_id, self.name = hub, repo_id, name
        self._staged = Staged(hub.settings.temporary, hashed=False)
        self._unpacker = Unpacker(self._staged)

    def write(self, piece: bytes) -> None:
        """Take the next bytes. Raises `HubError` 400, 507."""
        self._unpacker.feed(piece)

    def keep(self) -> bool:
        """Keep what came, under its hash; whether it is new. Raises `HubError` 400 when the hash
        is not what was announced."""
        found = to_text(self._unpacker.finish())
        if found != self.name:
            raise bad_request(f"the xorb's hash is {found}, {self.name} was announced")
        self._staged.write(self._unpacker.index)
        self._staged.write(self._unpacker.count.to_bytes(TAIL, "little"))
        self._staged.flush()
        place = _place(self.hub, self.repo_id, self.name)
        with disk_errors():
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self._staged.path, place)
        mine = (xorbs.c.hash == self.name) & (xorbs.c.repo_id == self.repo_id)
        with self.hub.database.write() as connection:
            if connection.execute(select(xorbs.c.hash).where(mine)).first():
                connection.execute(xorbs.update().where(mine).values(created_at=now()))
                return False
            row = {"hash": self.name, "repo_id": self.repo_id, "size": self._unpacker.size}
            connection.execute(xorbs.insert(), {**row, "created_at": now()})
        return True

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self._staged.__exit__()


def _folder(hub: Hub) -> Path:
    return hub.settings.folder / "xorbs"


def _place(hub: Hub, repo_id: int, name: str) -> Path:
    return _folder(hub) / str(repo_id) / name[:2] / name


def sent_here(hub: Hub, repo_id: int, names: set[str]) -> set[str]:
    """Those of the xorbs `names` that were sent to this repository."""
    found: set[str] = set()
    ordered = sorted(names)
    with hub.database.read() as connection:
        for start in range(0, len(ordered), 500):
            some = ordered[start : start + 500]
            rows = select(xorbs.c.hash).where(xorbs.c.repo_id == repo_id, xorbs.c.hash.in_(some))
            found |= set(connection.scalars(rows))
    return found


def open_xorb(hub: Hub, repo_id: int, name: str) -> Xorb:
    """A xorb that was sent to a repository. Raises `LostXorb`."""
    try:
        file = _place(hub, repo_id, name).open("rb")
    except FileNotFoundError:
        raise LostXorb(name) from None
    try:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - TAIL))
        count = int.from_bytes(file.read(TAIL), "little")
        start = size - TAIL - count * RECORD.size
        if count == 0 or start < 0:
            raise LostXorb(name)
        file.seek(start)
        index = np.frombuffer(file.read(count * RECORD.size), INDEX)
        ends = np.cumsum(index["size"], dtype=np.int64)
        if len(index) != count or ends[-1] != start:
            raise LostXorb(name)
    except BaseException:
        file.close()
        raise
    return Xorb(file, index, ends)


def forget_xorb(hub: Hub, repo_id: int, name: str) -> None:
    """Drop a xorb that is not whole, so that clients send it again."""
    _place(hub, repo_id, name).unlink(missing_ok=True)
    with hub.database.write() as connection:
        connection.execute(delete(xorbs).where(xorbs.c.repo_id == repo_id, xorbs.c.hash == name))
    hub.next_epoch()


def forget_old_xorbs(hub: Hub, older_than_ms: int) -> int:
    """Remove xorbs that came before `older_than_ms` (milliseconds since 1970), and those of
    repositories that are gone; returns the bytes that became free. Files built from them stay."""
    with hub.database.write() as connection:
        old = xorbs.c.created_at < older_than_ms
        rows = connection.execute(select(xorbs.c.repo_id, xorbs.c.hash).where(old)).all()
        connection.execute(delete(xorbs).where(old))
    if rows:
        hub.next_epoch()
    freed = sum(_remove(_place(hub, row.repo_id, row.hash)) for row in rows)
    with hub.database.read() as connection:
        living = {str(one) for one in connection.scalars(select(repos.c.id))}
    for folder in _folder(hub).glob("*"):
        if folder.name not in living:
            freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            shutil.rmtree(folder, ignore_errors=True)
    return freed


def _remove(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        size = path.stat().st_size
        path.unlink()
        return size
    return 0


def lost(hub: Hub, repo_id: int, name: str) -> HubError:
    """The answer to a shard that names a xorb which is gone."""
    forget_xorb(hub, repo_id, name)
    return bad_request(f"the hub does not have xorb {name} any more: upload once more")
