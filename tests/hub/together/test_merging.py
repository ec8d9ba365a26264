"""Merges against a brute-force merge of flat listings."""

from __future__ import annotations

import random

import pytest

from llmos.hub.database.tables import commits
from llmos.hub.errors import HubError
from llmos.hub.git import trees, versions
from llmos.hub.git.objects import blob_id
from llmos.hub.together import diffs, merging
from llmos.hub.together.discussions import discussion_row
from llmos.hub.together.pull_requests import open_pull_request

PATHS = ["a", "b", "c/x", "c/y", "c/d/e", "a/z", "c"]


def _entry(content: int) -> trees.Entry:
    data = b"%d" % content
    return trees.Entry("file", blob_id(data), len(data), f"{content:064x}")


def _valid(listing: dict[str, int]) -> dict[str, int]:
    """Without the folders' files where a file has the folder's name."""
    return {
        path: value
        for path, value in listing.items()
        if not any(path.startswith(other + "/") for other in listing)
    }


def _expected(base: dict, ours: dict, theirs: dict) -> tuple[dict, set]:
    merged, bad = {}, set()
    for path in base.keys() | ours.keys() | theirs.keys():
        old, one, two = base.get(path), ours.get(path), theirs.get(path)
        if two in (old, one):
            chosen = one
        elif one == old:
            chosen = two
        else:
            bad.add(path)
            chosen = one
        if chosen is not None:
            merged[path] = chosen
    clash = {
        path
        for path in merged
        for other in merged
        if path.startswith(other + "/") or other.startswith(path + "/")
    }
    return merged, bad | clash


def test_merges_are_those_of_flat_listings(shop) -> None:
    choose = random.Random(5)
    repo = shop.repo()
    root = shop.head(repo)
    clean = conflicting = 0
    for number in range(150):
        listings = []
        base = _valid({p: choose.randrange(3) for p in PATHS if choose.random() < 0.5})
        for _ in range(2):
            changed = dict(base)
            for path in choose.sample(PATHS, choose.randrange(1, 5)):
                changed.pop(path, None)
                if choose.random() < 0.6:
                    for other in PATHS:
                        if other.startswith(path + "/") or path.startswith(other + "/"):
                            changed.pop(other, None)
                    changed[path] = choose.randrange(4)
            listings.append(_valid(changed))
        with shop.hub.database.write() as connection:
            heads = []
            for listing in (base, *listings):
                tree = trees.changed(connection, None, {p: _entry(v) for p, v in listing.items()})
                parents = heads[:1] or [root.oid]
                title = f"{number}-{len(heads)}"
                heads.append(
                    versions.save_commit(connection, repo.id, tree, parents, "alice", title)
                )
            name = f"refs/heads/b{number}"
            versions.add_ref(connection, repo.id, name, "branch", heads[1])
            made = open_pull_request(
                connection, shop.caller("alice"), repo, title="t", base=name, head=heads[2]
            )
            sides = merging.sides_of(connection, discussion_row(connection, repo.id, made))
        assert sides.base.oid == heads[0]
        expected, bad = _expected(base, *listings)
        if bad:
            assert sides.conflicts and set(sides.conflicts) <= bad
            conflicting += 1
            with pytest.raises(HubError, match="Both sides changed") as caught:
                merging.merge(shop.hub, shop.caller("alice"), repo, made)
            assert caught.value.status == 409
            continue
        clean += 1
        assert sides.conflicts == []
        oid = merging.merge(shop.hub, shop.caller("alice"), repo, made)
        with shop.hub.database.read() as connection:
            row = connection.execute(commits.select().where(commits.c.oid == oid)).one()
            found = {p: int(e.key, 16) for p, e in trees.walk(connection, row.tree)}
        assert found == expected
        assert row.parents == [heads[1], heads[2]]
    assert clean > 40 and conflicting > 20


def test_a_merge_is_indexed_and_done_once(shop) -> None:
    repo = shop.repo()
    with shop.hub.database.write() as connection:
        number = open_pull_request(
            connection,
            shop.caller("bob"),
            repo,
            title="Card",
            head=shop.head(repo).oid,
            status="draft",
        )
    with pytest.raises(HubError, match="draft"):
        merging.merge(shop.hub, shop.caller("alice"), repo, number)
    shop.commit(repo, {"README.md": b"---\nlicense: mit\n---\n"}, f"refs/pr/{number}", "bob")
    shop.commit(repo, {"other.txt": b"o"})
    with shop.hub.database.write() as connection:
        row = discussion_row(connection, repo.id, number)
        merging.change(connection, row, status="open")
    oid = merging.merge(shop.hub, shop.caller("alice"), repo, number, "thanks")
    head = shop.head(repo)
    assert (head.oid, head.author, head.title) == (oid, "alice", f"Card (#{number})")
    with shop.hub.database.read() as connection:
        again = making_row(connection, repo)
        assert (again.license, again.head) == ("mit", oid)
        assert {p for p, _ in trees.walk(connection, head.tree)} == {
            ".gitattributes",
            "README.md",
            "other.txt",
        }
    with pytest.raises(HubError, match="merged"):
        merging.merge(shop.hub, shop.caller("alice"), repo, number)


def making_row(connection, repo):
    from llmos.hub.database.tables import repos

    return connection.execute(repos.select().where(repos.c.id == repo.id)).one()


def test_history_that_was_squashed_has_no_common_commit(shop) -> None:
    repo = shop.repo()
    shop.commit(repo, {"same.txt": b"1", "mine.txt": b"2"})
    with shop.hub.database.write() as connection:
        number = open_pull_request(
            connection, shop.caller("alice"), repo, title="x", head=shop.head(repo).oid
        )
    shop.commit(repo, {"mine.txt": b"3", "new.txt": b"4"}, f"refs/pr/{number}")
    head = shop.head(repo)
    with shop.hub.database.write() as connection:
        tree = trees.changed(connection, head.tree, {})
        alone = versions.save_commit(connection, repo.id, tree, [], "alice", "squashed")
        versions.move_ref(connection, repo.id, versions.MAIN, head.oid, alone)
        sides = merging.sides_of(connection, discussion_row(connection, repo.id, number))
    assert (sides.base, sides.conflicts, list(sides.added)) == (None, ["mine.txt"], ["new.txt"])
    assert "same.txt" in diffs.unified(
        shop.hub, [("same.txt", None, trees.Entry("lfs", "0" * 40, 1, "0" * 64))]
    )
