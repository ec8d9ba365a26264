"""What is collected, and what never is."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from llmos.hub.accounts import audit
from llmos.hub.database.connection import now
from llmos.hub.database.tables import blobs, commits, refs, repo_blobs, repos, trees
from llmos.hub.git import versions
from llmos.hub.repos.content import keep_upload
from llmos.hub.upkeep import collection
from llmos.hub.upkeep.checking import check
from llmos.hub.upkeep.collection import collect


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def age(hub: Any, days: int = 9) -> None:
    """Let all that there is be older."""
    back = days * 86_400_000
    with hub.database.write() as connection:
        for table in (blobs, repo_blobs):
            earlier = update(table).values(created_at=table.c.created_at - back)
            connection.execute(earlier)
    for path in Path(hub.settings.folder, "blobs").glob("??/??/*"):
        about = path.stat()
        os.utime(path, (about.st_atime, about.st_mtime - back / 1000))


def move_main(hub: Any, name: str, to: str) -> None:
    """Let main point at an older commit, as a reset does."""
    with hub.database.write() as connection:
        repo = connection.execute(select(repos).where(repos.c.full_name == name)).one()
        same = (refs.c.repo_id == repo.id) & (refs.c.name == versions.MAIN)
        connection.execute(update(refs).where(same).values(commit=to))
        connection.execute(update(repos).where(repos.c.id == repo.id).values(head=to))


def count(hub: Any, table: Any) -> int:
    with hub.database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


@pytest.fixture
def long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits of the test are nine days old; their ids depend on it."""
    monkeypatch.setattr(versions, "now", lambda: now() - 9 * 86_400_000)


@pytest.fixture
def cut(world: Any, committed: Any, long_ago: None) -> tuple[Any, str]:
    """A repository whose last commit was taken back, all of it old."""
    first = committed("alice/m", {"a.txt": b"kept", "d/x.txt": b"kept too"})
    committed("alice/m", {"d/b.txt": b"gone", "a.txt": b"changed"})
    move_main(world.hub, "alice/m", first)
    age(world.hub)
    return world.hub, first


def test_what_no_reference_leads_to_goes_and_the_rest_stays(cut: Any, world: Any) -> None:
    hub, _ = cut
    trees_before, commits_before = count(hub, trees), count(hub, commits)
    promised = collect(hub, dry=True)
    assert hub.blobs.size(sha(b"gone")) == 4 and count(hub, trees) == trees_before
    done = collect(hub)
    assert (done.commits, done.blobs) == (1, 2)
    assert done.bytes == len(b"gone") + len(b"changed")
    assert (promised.commits, promised.trees, promised.blobs, promised.bytes) == (
        done.commits,
        done.trees,
        done.blobs,
        done.bytes,
    )
    assert done.trees == 2 == trees_before - count(hub, trees)
    assert count(hub, commits) == commits_before - 1
    for data in (b"gone", b"changed"):
        assert hub.blobs.size(sha(data)) is None
    for path, data in (("a.txt", b"kept"), ("d/x.txt", b"kept too")):
        assert world.ask("GET", f"/alice/m/resolve/main/{path}").content == data
    report = check(hub)
    assert report.damaged == [] and [x for x in report.repaired if "size" not in x] == []
    again = collect(hub)
    assert (again.commits, again.trees, again.blobs, again.strays) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("name", "kind"), [("refs/tags/v1", "tag"), ("refs/pr/1", "pr"), ("refs/heads/x", "branch")]
)
def test_tags_pull_requests_and_branches_keep_what_they_lead_to(
    world: Any, committed: Any, long_ago: None, name: str, kind: str
) -> None:
    first = committed("alice/m", {"a.txt": b"one"})
    second = committed("alice/m", {"a.txt": b"two"})
    with world.hub.database.write() as connection:
        repo = connection.execute(select(repos)).one()
        versions.add_ref(connection, repo.id, name, kind, second)
    move_main(world.hub, "alice/m", first)
    age(world.hub)
    done = collect(world.hub)
    assert (done.commits, done.trees, done.blobs) == (0, 0, 0)
    assert world.hub.blobs.size(sha(b"two")) == 3


def test_what_is_younger_than_the_grace_stays(
    world: Any, committed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "now", lambda: now() - 3_600_000)
    first = committed("alice/m", {"a.txt": b"one"})
    committed("alice/m", {"a.txt": b"two"})
    move_main(world.hub, "alice/m", first)
    done = collect(world.hub)
    assert (done.commits, done.trees, done.blobs, done.strays) == (0, 0, 0, 0)
    assert world.hub.blobs.size(sha(b"two")) == 3


def test_files_sent_and_never_committed_go_after_the_grace(world: Any, committed: Any) -> None:
    committed("alice/m", {"a.txt": b"one"})
    with world.hub.database.read() as connection:
        repo = connection.execute(select(repos)).one()
    for data in (b"sent", b"sent again"):
        with world.hub.staged() as staged:
            staged.write(data)
            keep_upload(world.hub, repo.id, staged)
    with world.hub.staged() as staged:  # and one whose request was cut off before it was noted
        staged.write(b"stray")
        world.hub.blobs.put(staged)
    age(world.hub)
    with world.hub.staged() as staged:
        staged.write(b"sent again")
        keep_upload(world.hub, repo.id, staged)
    done = collect(world.hub)
    assert (done.blobs, done.strays) == (1, 1)
    assert world.hub.blobs.size(sha(b"sent")) is None
    assert world.hub.blobs.size(sha(b"sent again")) == 10
    with world.hub.database.read() as connection:
        held = select(repo_blobs.c.sha256).where(repo_blobs.c.sha256 == sha(b"sent again"))
        assert connection.execute(held).first() is not None


def test_the_files_of_a_deleted_repository_go_unless_another_has_them(
    world: Any, committed: Any
) -> None:
    committed("alice/m", {"a.txt": b"mine", "b.txt": b"both"})
    committed("alice/n", {"b.txt": b"both"})
    with world.hub.database.write() as connection:
        connection.execute(delete(repos).where(repos.c.full_name == "alice/m"))
    age(world.hub)
    collect(world.hub)
    assert world.hub.blobs.size(sha(b"mine")) is None
    assert world.hub.blobs.size(sha(b"both")) == 4
    assert check(world.hub).damaged == []


def test_what_a_commit_takes_up_again_during_the_collection_stays(
    cut: Any, committed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The dead content of the snapshot is committed again after it, before the sweep.
    hub, _ = cut
    marked = collection._mark

    def mark_and_commit(*arguments: Any) -> Any:
        marks = marked(*arguments)
        committed("alice/m", {"d/b.txt": b"gone", "a.txt": b"changed"})
        return marks

    monkeypatch.setattr(collection, "_mark", mark_and_commit)
    collect(hub)
    report = check(hub)
    assert report.damaged == []
    assert hub.blobs.size(sha(b"gone")) == 4


def test_a_branch_made_at_an_old_commit_during_the_collection_keeps_it(
    cut: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, first = cut
    with hub.database.read() as connection:
        other = connection.execute(select(commits.c.oid).order_by(commits.c.created_at.desc()))
        dead = next(oid for oid in other.scalars() if oid != first)
    marked = collection._mark

    def mark_and_branch(*arguments: Any) -> Any:
        marks = marked(*arguments)
        with hub.database.write() as connection:
            repo_id = connection.execute(select(repos.c.id)).scalar_one()
            versions.add_ref(connection, repo_id, "refs/heads/old", "branch", dead)
        return marks

    monkeypatch.setattr(collection, "_mark", mark_and_branch)
    collect(hub)
    assert check(hub).damaged == []


def test_a_blob_put_again_while_it_is_collected_is_there_in_the_end(world: Any) -> None:
    # One puts a blob and makes it old, over and over; another collects what is old. Whatever was
    # put young must be there.
    hub, data = world.hub, b"again and again"
    lost = []

    def send() -> None:
        for _ in range(300):
            with hub.staged() as staged:
                staged.write(data)
                hub.blobs.put(staged)
            if hub.blobs.size(sha(data)) is None and hub.blobs.size(sha(data)) is None:
                lost.append(1)
            with contextlib.suppress(FileNotFoundError):
                os.utime(hub.blobs.path(sha(data)), (1, 1))

    thread = threading.Thread(target=send)
    thread.start()
    gone = 0
    while thread.is_alive():
        gone += hub.blobs.delete_old(sha(data), now() - 60_000)
    thread.join()
    assert gone > 0 and lost == []


def test_a_blob_put_again_at_the_very_moment_is_put_back(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = world.hub
    with hub.staged() as staged:
        staged.write(b"x")
        hub.blobs.put(staged)
    path = hub.blobs.path(sha(b"x"))
    os.utime(path, (1, 1))
    rename = os.replace

    def after_a_put(source: Any, target: Any) -> None:
        if Path(source) == path:
            os.utime(path)  # what `put` does, after `delete_old` has looked
        rename(source, target)

    monkeypatch.setattr(os, "replace", after_a_put)
    assert hub.blobs.delete_old(sha(b"x"), now() - 60_000) is False
    assert path.read_bytes() == b"x"


def test_a_damaged_repository_is_left_alone(cut: Any) -> None:
    hub, first = cut
    with hub.database.write() as connection:
        root = connection.execute(select(commits.c.tree).where(commits.c.oid == first)).scalar()
        connection.execute(delete(trees).where(trees.c.key == root))
    done = collect(hub)
    assert done.skipped == ["alice/m"]
    assert (done.commits, done.trees) == (0, 0)
    assert hub.blobs.size(sha(b"gone")) == 4


def test_the_audit_log_tells_of_it_and_stays_whole(cut: Any) -> None:
    hub, _ = cut
    collect(hub)
    with hub.database.read() as connection:
        last = connection.execute(
            select(audit.audit).order_by(audit.audit.c.number.desc()).limit(1)
        ).one()
        assert (last.action, last.detail["commits"]) == ("hub.collect", 1)
        assert list(audit.broken_entries(connection)) == []
