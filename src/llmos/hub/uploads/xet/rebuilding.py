"""Files built from the chunks that a shard names, checked, kept as plain blobs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from llmos.hub.errors import bad_request
from llmos.hub.hub import Hub
from llmos.hub.repos.content import keep_uploads
from llmos.hub.storage.staging import Staged
from llmos.hub.uploads import room
from llmos.hub.uploads.existing import held_here
from llmos.hub.uploads.xet import xorbs
from llmos.hub.uploads.xet.chunklists import ChunkList, has_list
from llmos.hub.uploads.xet.hashes import chunk_hash, range_hash, to_text
from llmos.hub.uploads.xet.shards import ShardFile, read_shard

OPEN = 8  # xorbs kept open at once
PIECE = 1 << 20
TOGETHER = 100  # files that are noted in one transaction
TOGETHER_BYTES = 1 << 30


def take_shard(hub: Hub, repo: Row[Any], shard: Staged) -> int:
    """Build all files of a shard for a repository; returns how many are new.

    Raises `HubError` 400 when a file cannot be built or is not what the shard says, 403, 413 or
    507 when there is no room for it. What was built before that stays, for the next try.
    """
    built = 0
    waiting: list[_Built] = []
    with _alone(repo.id, shard.sha256), shard.path.open("rb") as file, _Xorbs(hub, repo.id) as some:
        try:
            for part in read_shard(file, shard.size):
                made = _build(hub, repo, part, some)
                if made is None:
                    continue
                waiting.append(made)
                built += 1
                total = sum(one.staged.size for one in waiting)
                if len(waiting) >= TOGETHER or total >= TOGETHER_BYTES:
                    _keep(hub, repo.id, waiting)
            _keep(hub, repo.id, waiting)
        except xorbs.LostXorb as error:
            raise xorbs.lost(hub, repo.id, str(error)) from None
        finally:
            for one in waiting:
                one.staged.__exit__()
    return built


@dataclass(frozen=True, slots=True)
class _Built:
    """A file that was built and checked, and how it is cut."""

    staged: Staged
    hash: bytes
    chunks: ChunkList


def _keep(hub: Hub, repo_id: int, waiting: list[_Built]) -> None:
    def note_lists(connection: Connection) -> None:
        for one in waiting:
            one.chunks.record(connection, one.staged.sha256, one.hash)

    if waiting:
        keep_uploads(hub, repo_id, [one.staged for one in waiting], note_lists)
    for one in waiting:
        one.staged.__exit__()
    waiting.clear()


def _build(hub: Hub, repo: Row[Any], part: ShardFile, opened: _Xorbs) -> _Built | None:
    """The file, checked; None when the repository has it already and its chunks are known."""
    with hub.database.read() as connection:
        held = held_here(connection, repo.id, [part.sha256])
        if held and has_list(connection, part.sha256):
            return None
        room.check_file_size(hub, part.size)
        room.check_room(hub, connection, repo, 0 if held else part.size)
    opened.check_sent(part)
    staged = Staged(hub.settings.temporary)
    try:
        chunks = ChunkList()
        for number in range(len(part.terms)):
            _copy_term(part, number, opened, staged, chunks)
        if chunks.finish() != part.hash:
            raise bad_request(f"the chunks do not make the file {to_text(part.hash)}")
        if staged.sha256 != part.sha256:
            opened.check_bytes(part)
        staged.expect(sha256=part.sha256, size=part.size)
    except BaseException:
        staged.__exit__()
        raise
    return _Built(staged, part.hash, chunks)


def _copy_term(
    part: ShardFile, number: int, opened: _Xorbs, staged: Staged, listed: ChunkList
) -> None:
    term = part.terms[number]
    start, stop = int(term["start"]), int(term["stop"])
    xorb = opened.get(to_text(term["xorb"].tobytes()))
    if not start < stop <= xorb.count:
        raise bad_request(f"the shard asks for chunks {start} to {stop} of {xorb.count}")
    begin, end = xorb.span(start, stop)
    if end - begin != int(term["size"]):
        raise bad_request(
            f"chunks {start} to {stop} are {end - begin:,} bytes, not as the shard says"
        )
    chunks = xorb.index[start:stop]
    hashes = chunks["hash"].tobytes()
    if part.proofs is not None and range_hash(hashes) != part.proofs[number]["hash"].tobytes():
        raise bad_request("the shard's proof for a range of chunks is wrong")
    for place, size in enumerate(chunks["size"].tolist()):
        listed.add(hashes[32 * place : 32 * place + 32], size)
    xorb.file.seek(begin)
    left = end - begin
    while left:
        piece = xorb.file.read(min(PIECE, left))
        if not piece:
            raise xorbs.LostXorb(to_text(term["xorb"].tobytes()))
        staged.write(piece)
        left -= len(piece)


class _Xorbs:
    """The xorbs of one repository, a few kept open."""

    def __init__(self, hub: Hub, repo_id: int) -> None:
        self._hub, self._repo_id = hub, repo_id
        self._open: OrderedDict[str, xorbs.Xorb] = OrderedDict()

    def check_sent(self, part: ShardFile) -> None:
        """Raise `HubError` 400 unless all xorbs that a file needs were sent to the repository."""
        needed = _names(part)
        missing = needed - xorbs.sent_here(self._hub, self._repo_id, needed)
        if missing:
            raise bad_request(f"xorb {min(missing)} was not sent to this repository")

    def check_bytes(self, part: ShardFile) -> None:
        """Raise `LostXorb` when the disk has changed one of the xorbs that a file needs."""
        for name in sorted(_names(part)):
            xorb = self.get(name)
            xorb.file.seek(0)
            for size, wanted in zip(xorb.index["size"].tolist(), xorb.index["hash"], strict=True):
                if chunk_hash(xorb.file.read(size)) != wanted.tobytes():
                    raise xorbs.LostXorb(name)

    def get(self, name: str) -> xorbs.Xorb:
        """An opened xorb. Raises `LostXorb`."""
        found = self._open.get(name)
        if found is None:
            found = xorbs.open_xorb(self._hub, self._repo_id, name)
            self._open[name] = found
            if len(self._open) > OPEN:
                self._open.popitem(last=False)[1].file.close()
        self._open.move_to_end(name)
        return found

    def __enter__(self) -> _Xorbs:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._open.values():
            one.file.close()


def _names(part: ShardFile) -> set[str]:
    raw = part.terms["xorb"].tobytes()
    return {to_text(one) for one in {raw[at : at + 32] for at in range(0, len(raw), 32)}}


_busy: dict[tuple[int, str], threading.Lock] = {}
_guard = threading.Lock()


@contextmanager
def _alone(repo_id: int, shard: str) -> Iterator[None]:
    """A client that has lost patience sends its shard again while the first is still at work: the
    second waits, and then finds the files there."""
    key = (repo_id, shard)
    with _guard:
        lock = _busy.setdefault(key, threading.Lock())
    try:
        with lock:
            yield
    finally:
        with _guard:
            _busy.pop(key, None)
