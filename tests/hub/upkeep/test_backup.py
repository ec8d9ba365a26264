"""Backups: consistent while the hub runs, only what is new, and back again as it was."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from llmos.errors import UsageError
from llmos.hub.database.tables import blobs, metadata, repos
from llmos.hub.hub import Hub
from llmos.hub.settings import HubSettings
from llmos.hub.upkeep import backup as module
from llmos.hub.upkeep.backup import backup
from llmos.hub.upkeep.backup_folder import blob_file, read_manifest
from llmos.hub.upkeep.checking import check
from llmos.hub.upkeep.restore import restore


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def everything(hub: Hub) -> dict[str, list[Any]]:
    """All rows but those that backup and restore themselves add to the audit log."""
    with hub.database.read() as connection:
        found = {
            table.name: sorted(map(repr, connection.execute(select(table)).all()))
            for table in metadata.sorted_tables
        }
    found["audit"] = [row for row in found["audit"] if "hub.backup" not in row]
    found["audit"] = [row for row in found["audit"] if "hub.restore" not in row]
    return found


@pytest.fixture
def filled(world: Any, committed: Any) -> Any:
    committed("alice/m", {"README.md": b"# m", "a/b.txt": "größe 漢字".encode()})
    committed("acme/n", {"x.bin": bytes(range(256))})
    return world.hub


@pytest.mark.parametrize("link", [False, True])
def test_a_restored_hub_is_the_same(filled: Any, tmp_path: Path, link: bool) -> None:
    made = backup(filled, tmp_path / "backup", link=link)
    assert made.missing == []
    settings = HubSettings(folder=tmp_path / "new")
    done = restore(settings, tmp_path / "backup")
    assert (done.damaged, done.blobs) == ([], made.blobs)
    again = Hub(settings)
    assert everything(again) == everything(filled)
    report = check(again)
    assert (report.damaged, report.repaired) == ([], [])
    assert again.sign("x", 1).split("-")[1]  # the secret came along: old addresses stay good
    again.check_signature(filled.sign("x", 1), "x", 1)
    again.close()


def test_the_second_backup_copies_only_what_is_new(
    filled: Any, committed: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    backup(filled, folder)
    before = {path: path.stat().st_mtime_ns for path in (folder / "blobs").rglob("*")}
    committed("alice/m", {"new.txt": b"new"})
    copied: list[int] = []
    made = backup(filled, folder, progress=copied.append)
    assert copied == [3]
    assert all(path.stat().st_mtime_ns == at for path, at in before.items() if path.is_file())
    assert len(list(folder.glob("database-*"))) == 1
    restore(HubSettings(folder=tmp_path / "new"), folder)
    assert blob_file(folder, sha(b"new")).read_bytes() == b"new" and made.missing == []


def test_what_is_committed_during_the_backup_does_not_tear_it(
    filled: Any, committed: Any, tmp_path: Path
) -> None:
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            committed("alice/busy", {f"{number}.txt": str(number).encode() * 50})
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for number in range(3):
            backup(filled, tmp_path / "backup")
            settings = HubSettings(folder=tmp_path / f"new-{number}")
            assert restore(settings, tmp_path / "backup").damaged == []
            hub = Hub(settings)
            report = check(hub)
            hub.close()
            assert (report.damaged, report.repaired) == ([], [])
    finally:
        stop.set()
        thread.join()


def test_a_blob_that_is_damaged_in_the_hub_is_named_not_copied(filled: Any, tmp_path: Path) -> None:
    path = filled.blobs.path(sha(bytes(range(256))))
    path.write_bytes(b"\xff" * 256)
    made = backup(filled, tmp_path / "backup")
    assert made.missing == [path.name]
    assert not blob_file(tmp_path / "backup", path.name).exists()
    done = restore(HubSettings(folder=tmp_path / "new"), tmp_path / "backup")
    assert done.damaged == [path.name]


def test_a_backup_that_is_cut_off_leaves_the_one_before(
    filled: Any, committed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backup"
    backup(filled, folder)
    before = read_manifest(folder)
    committed("alice/m", {"new.txt": b"new"})
    with monkeypatch.context() as patch:
        patch.setattr(module, "_copied", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            backup(filled, folder)
    assert read_manifest(folder) == before
    assert restore(HubSettings(folder=tmp_path / "new"), folder).damaged == []


def test_a_damaged_backup_is_seen(filled: Any, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    made = backup(filled, folder)
    blob_file(folder, sha(b"# m")).write_bytes(b"# n")
    done = restore(HubSettings(folder=tmp_path / "one"), folder)
    assert done.damaged == [sha(b"# m")]
    hub = Hub(HubSettings(folder=tmp_path / "one"))
    with hub.database.read() as connection:
        state = select(blobs.c.state).where(blobs.c.sha256 == sha(b"# m"))
        assert connection.execute(state).scalar() == "damaged"
    hub.close()
    rows = folder / made.database
    content = bytearray(rows.read_bytes())
    content[len(content) // 2] ^= 1
    rows.write_bytes(content)
    with pytest.raises(UsageError, match="damaged, use another backup"):
        restore(HubSettings(folder=tmp_path / "two"), folder)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="is no backup"):
        restore(HubSettings(folder=tmp_path / "three"), folder)


def test_only_an_empty_hub_is_restored_into(filled: Any, tmp_path: Path) -> None:
    backup(filled, tmp_path / "backup")
    restore(HubSettings(folder=tmp_path / "new"), tmp_path / "backup")
    with pytest.raises(UsageError, match="not empty"):
        restore(HubSettings(folder=tmp_path / "new"), tmp_path / "backup")


def test_a_restore_that_is_cut_off_can_be_done_again(
    filled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmos.hub.upkeep import restore as restoring

    backup(filled, tmp_path / "backup")
    settings = HubSettings(folder=tmp_path / "new")
    with monkeypatch.context() as patch:
        patch.setattr(restoring, "take_blob", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            restore(settings, tmp_path / "backup")
    assert restore(settings, tmp_path / "backup").damaged == []
    hub = Hub(settings)
    with hub.database.read() as connection:
        assert len(connection.execute(select(repos)).all()) == 2
    hub.close()


def test_the_copy_of_the_database_is_for_its_owner_alone(filled: Any, tmp_path: Path) -> None:
    made = backup(filled, tmp_path / "backup")
    assert (tmp_path / "backup" / made.database).stat().st_mode & 0o077 == 0
