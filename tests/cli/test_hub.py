"""The commands of `llmos hub` that look after a hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from llmos.hub.accounts.rights import Caller, account_row
from llmos.hub.database.tables import blobs
from llmos.hub.repos import changes, making
from llmos.hub.repos.content import keep_bytes
from llmos.hub.server import first_admin, opened
from llmos.hub.settings import HubSettings

Command = Callable[..., tuple[int, str, str]]
CONTENT = b"content of a file" * 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a hub with one repository."""
    hub = opened(HubSettings(folder=tmp_path / "hub"))
    assert first_admin(hub) and first_admin(hub) is None
    with hub.database.read() as connection:
        row = account_row(connection, "root")
        assert row is not None
        root = Caller(id=row.id, name="root", scope="write", admin=True)
    repo = making.make_repo(hub, root, "model", "root/m")
    added = {"a/b.txt": keep_bytes(hub, CONTENT)}
    changes.commit(hub, root, repo, "main", changes.Changes("first", added=added))
    hub.close()
    return tmp_path / "hub"


def _blob(folder: Path) -> Path:
    hub = opened(HubSettings(folder=folder))
    with hub.database.read() as connection:
        same = select(blobs.c.sha256).where(blobs.c.size == len(CONTENT))
        path = hub.blobs.path(connection.execute(same).scalar_one())
    hub.close()
    assert path is not None
    return path


def test_backup_damage_repair_restore(llmos: Command, folder: Path, tmp_path: Path) -> None:
    here = ("--folder", str(folder))
    code, out, _ = llmos("hub", "backup", str(tmp_path / "backup"), *here)
    assert code == 0 and "rows and" in out
    assert llmos("hub", "fsck", *here)[0] == 0
    _blob(folder).write_bytes(b"other" * 10)
    code, out, _ = llmos("hub", "fsck", "--quick", *here)
    assert code == 1 and "damaged: model root/m: a/b.txt at refs/heads/main: blob" in out
    code, out, _ = llmos("hub", "fsck", "--repair-from", str(tmp_path / "backup"), *here)
    assert code == 0 and "taken from the backup" in out
    assert _blob(folder).read_bytes() == CONTENT
    there = ("--folder", str(tmp_path / "new"))
    code, out, _ = llmos("hub", "restore", str(tmp_path / "backup"), *there)
    assert code == 0 and "restored" in out
    assert llmos("hub", "fsck", *there)[0] == 0
    code, _, err = llmos("hub", "restore", str(tmp_path / "backup"), *there)
    assert code == 2 and "not empty" in err


def test_gc_counts_first_and_then_collects(llmos: Command, folder: Path) -> None:
    here = ("--folder", str(folder), "--grace", "0")
    hub = opened(HubSettings(folder=folder))
    with hub.staged() as staged:
        staged.write(b"stray")
        hub.blobs.put(staged)
    hub.close()
    code, out, _ = llmos("hub", "gc", "--dry-run", *here)
    assert code == 0 and "would remove 0 commits, 0 folders, 0 files, 1 strays (5 bytes)" in out
    code, out, _ = llmos("hub", "gc", *here)
    assert code == 0 and "1 strays" in out
    assert "0 strays" in llmos("hub", "gc", *here)[1]
    assert _blob(folder).read_bytes() == CONTENT


def test_stats_tell_what_there_is(llmos: Command, folder: Path) -> None:
    code, out, _ = llmos("hub", "stats", "--folder", str(folder))
    assert code == 0 and "repositories: 1 model; 0 private" in out and "2 commits" in out
    code, out, _ = llmos("hub", "stats", "--json", "--folder", str(folder))
    found = json.loads(out)
    assert found["accounts"] == {"user": 1} and found["commits"] == 2
    assert found["file_bytes"] == found["blob_bytes"] > len(CONTENT)
    assert found["database_bytes"] > 4096 and len(found["audit_head"]) == 64


@pytest.mark.parametrize("command", ["stats", "fsck", "gc"])
def test_where_there_is_no_hub_none_is_made(llmos: Command, tmp_path: Path, command: str) -> None:
    code, _, err = llmos("hub", command, "--folder", str(tmp_path / "none"))
    assert code == 2 and "there is no hub" in err
    assert not (tmp_path / "none").exists()


def test_a_folder_that_is_no_backup_is_refused(llmos: Command, folder: Path) -> None:
    for command in (("restore", str(folder)), ("fsck", "--repair-from", str(folder))):
        code, _, err = llmos("hub", *command, "--folder", str(folder))
        assert code == 2 and "is no backup" in err and err.count("\n") == 1
