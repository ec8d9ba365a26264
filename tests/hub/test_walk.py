"""A repository from its making to a file's bytes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from llmos.hub.accounts.rights import Caller, account_row, roles_of
from llmos.hub.git import trees, versions
from llmos.hub.repos import changes, making
from llmos.hub.repos.content import keep_bytes


def _caller(world, name: str) -> Caller:
    with world.hub.database.read() as connection:
        row = account_row(connection, name)
        return Caller(id=row.id, name=name, scope="write", roles=roles_of(connection, row.id))


def test_a_commit_is_served_and_has_gits_own_ids(world, tmp_path: Path) -> None:
    alice = _caller(world, "alice")
    repo = making.make_repo(world.hub, alice, "model", "acme/small")
    content = {"README.md": b"---\nlicense: mit\n---\nHi\n", "a/b.txt": b"x" * 9, "a.txt": b"y"}
    entries = {path: keep_bytes(world.hub, data) for path, data in content.items()}
    made = changes.Changes("first", added=entries)
    oid = changes.commit(world.hub, alice, repo, "main", made)
    for path, data in content.items():
        answer = world.ask("GET", f"/acme/small/resolve/main/{path}")
        assert (answer.status_code, answer.content) == (200, data)
        assert answer.headers["x-repo-commit"] == oid
    with world.hub.database.read() as connection:
        tree = versions.resolve(connection, repo.id, "main").tree
        root = trees.folder_entry(trees.load(connection, tree)).oid
    for path, data in {**content, ".gitattributes": changes_attributes()}.items():
        (tmp_path / "git" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "git" / path).write_bytes(data)
    git = ["git", "-C", str(tmp_path / "git"), "-c", "core.autocrlf=false"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "git" / ".git" / "info" / "attributes").write_text("* -filter -text\n")
    subprocess.run([*git, "add", "-A"], check=True)
    theirs = subprocess.run([*git, "write-tree"], check=True, capture_output=True, text=True)
    assert theirs.stdout.strip() == root


def changes_attributes() -> bytes:
    from llmos.hub.repos.attributes import DEFAULT_ATTRIBUTES

    return DEFAULT_ATTRIBUTES
