"""Small files of commits are durable with the commit, though their files are brought to the disk
later. A power cut is played by taking from the files what was not brought there."""

from __future__ import annotations

import base64
import ctypes
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from llmos.hub.database.tables import accounts, arrivals, repos
from llmos.hub.errors import HubError
from llmos.hub.repos import content
from llmos.hub.storage import local
from llmos.hub.storage.staging import staged_bytes
from llmos.hub.upkeep.checking import check
from llmos.hub.upkeep.settling import recover, settle

FILES = {"a.txt": b"one", "b/c.txt": b"two", "empty": b"", "same": b"one"}


@pytest.fixture(autouse=True)
def model(world: Any, committed: Any) -> None:
    committed("alice/m", {})


def _send(world: Any, files: dict[str, bytes], **header: Any) -> int:
    lines: list[dict[str, Any]] = [{"key": "header", "value": {"summary": "sent", **header}}]
    for path, data in files.items():
        value = {"path": path, "encoding": "base64", "content": base64.b64encode(data).decode()}
        lines.append({"key": "file", "value": value})
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    return int(
        world.ask("POST", "/api/models/alice/m/commit/main", "alice", content=body).status_code
    )


def _waiting(world: Any) -> list[tuple[str, bytes]]:
    with world.hub.database.read() as connection:
        return [(row.sha256, row.content) for row in connection.execute(select(arrivals))]


def _file(world: Any, data: bytes) -> Path:
    return Path(world.hub.blobs.path(content.entry_of(data).key))


def _fetched(world: Any) -> dict[str, bytes]:
    return {
        path: world.ask("GET", f"/alice/m/resolve/main/{path}", "alice").content for path in FILES
    }


def _synced(monkeypatch: Any) -> set[int]:
    """The inodes that are brought to the disk from here on."""
    synced: set[int] = set()
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return synced


@pytest.mark.parametrize("harm", ["lost", "empty", "zeros", "folder lost"])
def test_a_power_cut_after_the_commit_loses_nothing(world: Any, harm: str) -> None:
    assert _send(world, FILES) == 200
    for data in {b"one", b"two"}:
        file = _file(world, data)
        if harm == "empty":
            file.write_bytes(b"")
        elif harm == "zeros":
            file.write_bytes(bytes(len(data)))
        else:
            file.unlink()
        if harm == "folder lost":
            file.parent.rmdir()
    recover(world.hub)
    assert _fetched(world) == FILES
    assert check(world.hub).sound
    recover(world.hub)
    assert _fetched(world) == FILES


def test_rows_go_when_the_files_are_on_the_disk(world: Any, monkeypatch: Any) -> None:
    assert _send(world, FILES) == 200
    assert {data for _, data in _waiting(world)} == set(FILES.values())
    synced: list[int] = []
    sync = world.hub.blobs.sync

    def noted() -> None:
        synced.append(len(_waiting(world)))
        sync()

    monkeypatch.setattr(world.hub.blobs, "sync", noted)
    assert settle(world.hub) == 3
    assert synced == [3], "the rows are there until the files are on the disk"
    assert _waiting(world) == [] and settle(world.hub) == 0
    assert synced == [3], "nothing waits: the disk is left alone"
    assert _fetched(world) == FILES


def test_a_commit_during_settling_keeps_its_row(world: Any, monkeypatch: Any) -> None:
    assert _send(world, {"a.txt": b"one"}) == 200
    sync = world.hub.blobs.sync

    def meanwhile() -> None:
        sync()
        assert _send(world, {"late.txt": b"late", "again.txt": b"one"}) == 200

    monkeypatch.setattr(world.hub.blobs, "sync", meanwhile)
    assert settle(world.hub) == 1
    assert {data for _, data in _waiting(world)} == {b"late", b"one"}


def test_a_disk_that_refuses_is_asked_again_with_the_bytes(world: Any, monkeypatch: Any) -> None:
    assert _send(world, FILES) == 200
    before = _file(world, b"one").stat().st_ino

    def refuses() -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(world.hub.blobs, "sync", refuses)
    with pytest.raises(OSError, match="I/O error"):
        settle(world.hub)
    assert len(_waiting(world)) == 3
    assert _file(world, b"one").stat().st_ino != before, "written anew, not only synced again"


def test_a_commit_that_is_refused_leaves_no_row(world: Any) -> None:
    with world.hub.database.write() as connection:
        connection.execute(accounts.update().where(accounts.c.name == "alice").values(quota=1))
    assert _send(world, {"a": b"x" * 5000}) == 403
    assert _send(world, {"a": b"x"}, parentCommit="1" * 40) == 412
    assert _waiting(world) == []


def test_what_a_refused_commit_left_cut_does_not_pass_for_the_file(world: Any) -> None:
    assert _send(world, {"a.txt": b"one"}, parentCommit="1" * 40) == 412
    file = _file(world, b"one")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"")
    assert _send(world, {"a.txt": b"one"}) == 200
    assert file.read_bytes() == b"one"
    file.write_bytes(b"")
    with staged_bytes(world.hub.settings.temporary, [b"one"]) as staged:
        world.hub.blobs.put(staged)
    assert file.read_bytes() == b"one"


def test_many_bytes_are_waited_for(world: Any, monkeypatch: Any) -> None:
    files = {f"{number}.txt": os.urandom(30_000) for number in range(40)}
    synced = _synced(monkeypatch)
    assert _send(world, files) == 200
    assert _waiting(world) == []
    assert {_file(world, data).stat().st_ino for data in files.values()} <= synced


def test_a_file_too_large_for_a_row_is_waited_for(world: Any) -> None:
    data = os.urandom(local.QUICK + 1)
    assert _send(world, {"a": data, "b": data[:-1]}) == 200
    assert [row for _, row in _waiting(world)] == [data[:-1]]


def test_a_blob_put_quickly_is_made_durable_by_the_next_put(world: Any, monkeypatch: Any) -> None:
    def put(how: Any) -> Any:
        with staged_bytes(world.hub.settings.temporary, [b"twice"]) as staged:
            return how(staged)

    assert put(world.hub.blobs.put_quickly) is False
    synced = _synced(monkeypatch)
    put(world.hub.blobs.put)
    file = _file(world, b"twice")
    assert {file.stat().st_ino, file.parent.stat().st_ino} <= synced


def test_damaged_rows_harm_no_file(world: Any) -> None:
    assert _send(world, FILES) == 200
    with world.hub.database.write() as connection:
        connection.execute(arrivals.update().values(content=b"rot"))
    recover(world.hub)
    assert _fetched(world) == FILES


def test_a_disk_error_of_sync_is_raised(world: Any, monkeypatch: Any) -> None:
    class Libc:
        def syncfs(self, descriptor: int) -> int:
            ctypes.set_errno(errno.ENOSPC)
            return -1

    monkeypatch.setattr(local, "_libc", Libc())
    with pytest.raises(HubError) as caught:
        world.hub.blobs.sync()
    assert caught.value.status == 507


def test_the_bytes_a_repository_uses_are_counted_once(world: Any) -> None:
    assert _send(world, FILES) == 200
    used = select(repos.c.used_bytes)
    with world.hub.database.read() as connection:
        before = connection.scalar(used)
    assert _send(world, {"third": b"one"}) == 200
    with world.hub.database.read() as connection:
        assert connection.scalar(used) == before
        assert connection.scalar(select(func.count()).select_from(repos)) == 1
