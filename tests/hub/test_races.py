"""Two who commit at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from llmos.hub.database.tables import repos
from llmos.hub.errors import HubError
from llmos.hub.git import trees, versions
from llmos.hub.repos import changes, making
from llmos.hub.repos.content import keep_bytes, used_bytes


def at_once(*jobs: Callable[[], object]) -> list[object]:
    """Run all, started together; what each returned or raised."""
    ready = threading.Barrier(len(jobs))
    told: list[object] = [None] * len(jobs)

    def run(number: int) -> None:
        ready.wait()
        try:
            told[number] = jobs[number]()
        except HubError as error:
            told[number] = error.status

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_of_two_with_one_parent_exactly_one_lands(world, alice) -> None:
    repo = making.make_repo(world.hub, alice, "model", "alice/small")
    entries = [keep_bytes(world.hub, b"%d" % number) for number in range(2)]
    for _ in range(15):
        with world.hub.database.read() as connection:
            head = versions.resolve(connection, repo.id, "main").oid
        made = [changes.Changes("x", parent=head, added={"a": one}) for one in entries]
        told = at_once(
            *(lambda one=one: changes.commit(world.hub, alice, repo, "main", one) for one in made)
        )
        assert sorted(map(type, told), key=str) == [int, str] and 412 in told
        with world.hub.database.read() as connection:
            assert versions.resolve(connection, repo.id, "main").oid in told


def test_without_a_parent_all_land_in_some_order(world, alice) -> None:
    repo = making.make_repo(world.hub, alice, "model", "alice/small")
    entry = keep_bytes(world.hub, b"x")

    def job(number: int) -> Callable[[], object]:
        def run() -> list[str]:
            return [
                changes.commit(
                    world.hub,
                    alice,
                    repo,
                    "main",
                    changes.Changes("x", added={f"f/{number}-{step}": entry}),
                )
                for step in range(6)
            ]

        return run

    told = at_once(*(job(number) for number in range(5)))
    made = [oid for one in told for oid in one]
    with world.hub.database.read() as connection:
        head = versions.resolve(connection, repo.id, "main")
        history = [row.oid for row in versions.history(connection, repo.id, head.oid)]
        files = {path for path, _ in trees.walk(connection, head.tree)}
        row = connection.execute(repos.select().where(repos.c.id == repo.id)).one()
    assert len(set(made)) == 30 and set(history[:-1]) == set(made)
    assert files == {".gitattributes", *(f"f/{a}-{b}" for a in range(5) for b in range(6))}
    assert row.head == head.oid == history[0]
    with world.hub.database.read() as connection:
        assert row.used_bytes == used_bytes(connection, repo.id)


def test_a_repository_deleted_meanwhile_takes_no_commit(world, alice) -> None:
    repo = making.make_repo(world.hub, alice, "model", "alice/small")
    entry = keep_bytes(world.hub, b"x")
    making.delete_repo(world.hub, alice, repo)
    with pytest.raises(HubError) as error:
        changes.commit(world.hub, alice, repo, "main", changes.Changes("x", added={"a": entry}))
    assert error.value.status == 404
