"""Repositories made, copied, moved, deleted."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import func, select, update

from llmos.hub.accounts.audit import broken_entries
from llmos.hub.database.tables import accounts, audit, commits, refs, repo_tags, repos
from llmos.hub.errors import HubError
from llmos.hub.git import trees, versions
from llmos.hub.repos import making, settings
from llmos.hub.repos.names import ACTIONS


def _files(world: Any, repo: Any) -> dict[str, str]:
    with world.hub.database.read() as connection:
        row = connection.execute(select(repos).where(repos.c.id == repo.id)).one()
        root = versions.resolve(connection, row.id, row.head).tree
        return {path: entry.key for path, entry in trees.walk(connection, root)}


def test_an_owner_may_want_new_repositories_private(world: Any, caller: Any) -> None:
    with world.hub.database.write() as connection:
        same = accounts.c.name_key == "acme"
        connection.execute(update(accounts).where(same).values(private_default=True))
    alice = caller("alice")
    assert making.make_repo(world.hub, alice, "model", "acme/one").private
    assert not making.make_repo(world.hub, alice, "model", "acme/two", private=False).private
    assert not making.make_repo(world.hub, alice, "model", "alice/one").private


def test_the_owners_name_is_written_as_the_owner_writes_it(world: Any, caller: Any) -> None:
    row = making.make_repo(world.hub, caller("alice"), "model", "ACME/Model")
    assert (row.full_name, row.name_key) == ("acme/Model", "acme/model")
    with pytest.raises(HubError, match="already created") as caught:
        making.make_repo(world.hub, caller("alice"), "model", "acme/mODEL")
    assert caught.value.status == 409


REFUSED = [
    ("bob", "acme/x", 403),
    ("alice", "nobody/x", 403),
    ("alice", "/x", 403),
    ("alice", "x", 403),
    ("alice", "acme/a/b", 403),
    ("alice", "acme/..", 400),
    ("alice", "acme/a b", 400),
    ("alice", "acme/x.git", 400),
    ("alice", "acme/" + "x" * 97, 400),
    ("alice", "acme/h\u00e9llo", 400),
    *[("alice", f"acme/{word}", 400) for word in sorted(ACTIONS)],
]


def test_refused_names_store_nothing(world: Any, caller: Any) -> None:
    for user, name, status in REFUSED:
        with pytest.raises(HubError) as caught:
            making.make_repo(world.hub, caller(user), "model", name, files={"a": b"secret"})
        assert caught.value.status == status, name
    assert list(world.hub.blobs.list()) == []
    with world.hub.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(repos)).scalar() == 0


def test_hub_admins_make_short_names(world: Any, caller: Any) -> None:
    row = making.make_repo(world.hub, caller("root"), "model", "gpt2")
    assert (row.owner_id, row.full_name) == (None, "gpt2")
    assert world.ask("GET", "/api/models/GPT2").headers["location"].endswith("/api/models/gpt2")
    assert world.ask("GET", "/api/models/gpt2").json()["author"] is None
    for path in ("auth-check", "likers", "revision/main"):
        assert world.ask("GET", f"/api/models/gpt2/{path}").status_code == 200, path


def test_one_of_many_at_once_makes_the_name(world: Any, caller: Any) -> None:
    alice, made, refused = caller("alice"), [], []

    def make() -> None:
        try:
            made.append(making.make_repo(world.hub, alice, "model", "acme/one"))
        except HubError as error:
            refused.append(error.status)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), refused) == (1, [409] * 7)


def test_a_copy_has_the_files_and_opens_nothing(world: Any, caller: Any, commit: Any) -> None:
    alice = caller("alice")
    source = making.make_repo(world.hub, alice, "model", "acme/source", private=True)
    commit(source, {"README.md": b"---\nlicense: mit\n---\n", "a/b.txt": b"x"})
    settings.change_settings(
        world.hub, alice, source, settings.RepoSettings(gated="auto", sharing="federated")
    )
    with world.hub.database.read() as connection:
        source = connection.execute(select(repos).where(repos.c.id == source.id)).one()
    copy = making.copy_repo(world.hub, alice, source, "alice/copy")
    assert (copy.private, copy.gated, copy.sharing) == (True, "auto", "federated")
    assert (copy.license, copy.tags) == ("mit", ["license:mit"])
    assert _files(world, copy) == _files(world, source)
    assert copy.used_bytes == sum(
        world.hub.blobs.size(key) for key in set(_files(world, copy).values())
    )
    with pytest.raises(HubError) as caught:
        making.copy_repo(world.hub, alice, source, "alice/open", private=False)
    assert caught.value.status == 403


def test_a_move_leaves_a_way_that_leads_on(world: Any, caller: Any, commit: Any) -> None:
    alice = caller("alice")
    repo = making.make_repo(world.hub, alice, "model", "acme/first")
    commit(repo, {"README.md": b"hello"})
    for before, after in (("first", "second"), ("second", "Third")):
        with world.hub.database.read() as connection:
            repo = making.repo_by_name(connection, "model", f"acme/{before}")
        making.move_repo(world.hub, alice, repo, f"acme/{after}")
    for name in ("first", "Second", "third"):
        answer = world.ask("GET", f"/api/models/acme/{name}?blobs=true")
        assert answer.status_code == 307
        assert answer.headers["location"] == "/api/models/acme/Third?blobs=true"
    answer = world.ask("GET", "/acme/first/resolve/main/README.md")
    assert answer.headers["location"] == "/acme/Third/resolve/main/README.md"
    new = making.make_repo(world.hub, alice, "model", "acme/first")  # the name is free again
    assert world.ask("GET", "/api/models/acme/first").json()["_id"] == f"{new.id:024x}"


def test_back_and_forth(world: Any, caller: Any) -> None:
    alice = caller("alice")
    repo = making.make_repo(world.hub, alice, "model", "acme/a")
    moved = making.move_repo(world.hub, alice, repo, "acme/b")
    back = making.move_repo(world.hub, alice, moved, "acme/a")
    moved = making.move_repo(world.hub, alice, back, "acme/b")
    back = making.move_repo(world.hub, alice, moved, "acme/a")
    cased = making.move_repo(world.hub, alice, back, "acme/A")
    assert cased.full_name == "acme/A"
    assert world.ask("GET", "/api/models/acme/b").headers["location"] == "/api/models/acme/A"
    with pytest.raises(HubError, match="A model repository called acme/A already exists"):
        making.move_repo(world.hub, alice, cased, "acme/A")


def test_a_move_goes_only_where_one_may_make(world: Any, caller: Any) -> None:
    alice = caller("alice")
    repo = making.make_repo(world.hub, alice, "model", "acme/a")
    for to, status in (("bob/a", 403), ("acme/a b", 400), ("gpt2", 403)):
        with pytest.raises(HubError) as caught:
            making.move_repo(world.hub, alice, repo, to)
        assert caught.value.status == status
    assert world.ask("GET", "/api/models/acme/a").status_code == 200


def test_what_is_deleted_is_gone_and_written_down(world: Any, caller: Any, commit: Any) -> None:
    alice = caller("alice")
    repo = making.make_repo(world.hub, alice, "model", "acme/a")
    commit(repo, {"README.md": b"---\ntags: [x]\n---\n"})
    moved = making.move_repo(world.hub, alice, repo, "acme/b")
    making.delete_repo(world.hub, alice, moved)
    assert world.ask("GET", "/api/models/acme/a", "alice").status_code == 404
    with world.hub.database.read() as connection:
        for table in (commits, refs, repo_tags):
            found = connection.execute(select(table).where(table.c.repo_id == repo.id)).all()
            assert found == [], table.name
        actions = connection.scalars(select(audit.c.action).order_by(audit.c.number)).all()
        assert actions[-4:] == ["repo.create", "repo.commit", "repo.move", "repo.delete"]
        assert list(broken_entries(connection)) == []
