"""Damage of every kind is found, named with its repository and path, and mended where it can be."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from llmos.hub.accounts import audit
from llmos.hub.database.tables import blobs, commits, refs, repo_blobs, repos, trees
from llmos.hub.git import trees as git_trees
from llmos.hub.git.cache import Cache
from llmos.hub.upkeep.backup import backup
from llmos.hub.upkeep.checking import check
from llmos.hub.upkeep.rechecking import recheck_some

WEIGHTS = b"weights" * 1000


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def hub(world: Any, committed: Any) -> Any:
    committed("alice/m", {"README.md": b"# m", "a/model.dat": WEIGHTS})
    committed("acme/n", {"copy.dat": WEIGHTS, "own.txt": b"own"})
    assert check(world.hub).damaged == []
    return world.hub


def harm(hub: Any, data: bytes, change: Any) -> Path:
    path = hub.blobs.path(sha(data))
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return path


def flip(content: bytearray) -> None:
    content[len(content) // 2] ^= 1


def cut(content: bytearray) -> None:
    del content[-1:]


@pytest.mark.parametrize("change", [flip, cut])
def test_a_damaged_blob_is_named_set_aside_and_never_served(
    hub: Any, world: Any, committed: Any, change: Any
) -> None:
    path = harm(hub, WEIGHTS, change)
    report = check(hub)
    assert sorted(line.split(" at ")[0] for line in report.damaged) == [
        "model acme/n: copy.dat",
        "model alice/m: a/model.dat",
    ]
    assert all(sha(WEIGHTS) in line for line in report.damaged)
    assert not path.exists()
    for address in ("/alice/m/resolve/main/a/model.dat", "/acme/n/resolve/main/copy.dat"):
        answer = world.ask("GET", address)
        assert answer.status_code == 503 and WEIGHTS not in answer.content
    assert world.ask("GET", "/acme/n/resolve/main/own.txt").content == b"own"
    assert len(check(hub).damaged) == 2  # still so
    committed("alice/other", {"again.dat": WEIGHTS})  # sent again, by anybody: good again
    assert check(hub).damaged == []
    assert world.ask("GET", "/alice/m/resolve/main/a/model.dat").content == WEIGHTS


def test_a_missing_blob_is_damage_too(hub: Any) -> None:
    hub.blobs.path(sha(b"own")).unlink()
    assert [line.split(" at ")[0] for line in check(hub, rehash=False).damaged] == [
        "model acme/n: own.txt"
    ]


def test_damage_in_an_older_version_is_named_by_its_commit(hub: Any, committed: Any) -> None:
    with hub.database.read() as connection:
        same = repos.c.full_name == "acme/n"
        head = connection.execute(select(repos.c.head).where(same)).scalar()
    committed("acme/n", {"own.txt": b"changed"})
    harm(hub, b"own", flip)
    assert check(hub).damaged == [
        f"model acme/n: own.txt in commit {head}: blob {sha(b'own')} has other bytes than those "
        "that were sent"
    ]


def test_a_damaged_blob_is_taken_from_a_backup(hub: Any, world: Any, tmp_path: Path) -> None:
    backup(hub, tmp_path / "backup")
    harm(hub, WEIGHTS, flip)
    hub.blobs.path(sha(b"own")).unlink()
    report = check(hub, repair_from=tmp_path / "backup")
    assert report.damaged == [] and len(report.repaired) == 2
    assert world.ask("GET", "/alice/m/resolve/main/a/model.dat").content == WEIGHTS
    assert check(hub).sound


def test_what_was_quarantined_is_so_again_when_it_is_mended(
    hub: Any, committed: Any, tmp_path: Path
) -> None:
    code = b"cposix\nsystem\n(S'true'\ntR."  # a pickle that runs a command

    def state() -> str:
        with hub.database.read() as connection:
            same = select(blobs.c.state).where(blobs.c.sha256 == sha(code))
            return str(connection.execute(same).scalar())

    committed("alice/m", {"x.pkl": code})
    assert state() == "quarantined"
    backup(hub, tmp_path / "backup")
    harm(hub, code, flip)
    check(hub)
    assert state() == "damaged"
    assert check(hub, repair_from=tmp_path / "backup").damaged == []
    assert state() == "quarantined"


def test_a_blob_damaged_in_the_backup_too_is_not_taken(hub: Any, tmp_path: Path) -> None:
    backup(hub, tmp_path / "backup")
    for path in (tmp_path / "backup" / "blobs").rglob(sha(b"own")):
        path.write_bytes(b"owm")
    harm(hub, b"own", flip)
    assert len(check(hub, repair_from=tmp_path / "backup").damaged) == 1


def _tree_of(connection: Any, name: str) -> str:
    return str(
        connection.execute(
            select(commits.c.tree)
            .join(repos, (repos.c.id == commits.c.repo_id) & (repos.c.head == commits.c.oid))
            .where(repos.c.full_name == name)
        ).scalar()
    )


def _flip_tree(connection: Any) -> None:
    key = _tree_of(connection, "alice/m")
    data = bytearray(
        connection.execute(select(trees.c.data).where(trees.c.key == key)).scalar_one()
    )
    flip(data)
    connection.execute(update(trees).where(trees.c.key == key).values(data=bytes(data)))


def _lose_tree(connection: Any) -> None:
    key = _tree_of(connection, "alice/m")
    connection.execute(delete(trees).where(trees.c.key == key))


def _change_commit(connection: Any) -> None:
    connection.execute(update(commits).values(author="mallory"))


def _lose_commit(connection: Any) -> None:
    head = connection.execute(select(repos.c.head).where(repos.c.full_name == "alice/m")).scalar()
    connection.execute(delete(commits).where(commits.c.oid == head))


def _change_audit(connection: Any) -> None:
    connection.execute(update(audit.audit).where(audit.audit.c.number == 3).values(actor="nobody"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_flip_tree, "has other bytes"),
        (_lose_tree, "is missing"),
        (_change_commit, "its id is not that of its content"),
        (_lose_commit, "alice/m: commit"),
        (_change_audit, "audit log: entry 3"),
    ],
)
def test_damage_of_the_database_is_named(
    hub: Any, change: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_trees, "_rows", Cache(1 << 20))  # as a new process would see it
    with hub.database.write() as connection:
        change(connection)
    found = check(hub).damaged
    assert any(words in line for line in found), found


def test_notes_that_do_not_fit_are_mended(hub: Any) -> None:
    with hub.database.write() as connection:
        connection.execute(delete(repo_blobs))
        connection.execute(delete(blobs).where(blobs.c.sha256 == sha(b"own")))
        connection.execute(update(repos).values(used_bytes=7, head=None))
    report = check(hub)
    assert report.damaged == [] and len(report.repaired) == 6
    again = check(hub)
    assert (again.damaged, again.repaired) == ([], [])
    with hub.database.read() as connection:
        head = connection.execute(select(refs.c.commit).join(repos)).scalars().all()
        assert set(connection.execute(select(repos.c.head)).scalars()) == set(head)
        assert set(connection.scalars(select(repos.c.used_bytes))) > {7} - {7}


def test_rechecking_takes_the_longest_unchecked_first_and_notes_damage(hub: Any) -> None:
    with hub.database.write() as connection:
        connection.execute(update(blobs).values(checked_at=None))
        late = update(blobs).where(blobs.c.sha256 == sha(b"own")).values(checked_at=10**15)
        connection.execute(late)
    harm(hub, WEIGHTS, flip)
    pieces: list[int] = []
    count = recheck_some(hub, lambda size: bool(pieces.append(size)))
    with hub.database.read() as connection:
        rows = {row.sha256: row for row in connection.execute(select(blobs))}
    assert count == len(rows) - 1
    assert sum(pieces) == sum(row.size for key, row in rows.items() if key != sha(b"own"))
    assert rows[sha(WEIGHTS)].state == "damaged"
    assert rows[sha(b"own")].checked_at == 10**15
    assert all(row.checked_at for row in rows.values())
    assert recheck_some(hub) == 0
