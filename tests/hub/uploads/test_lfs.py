"""Git LFS by hand: what is asked for, what is there already, who may."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.hub.uploads.lfs_sender import CONTENT, OID, actions_of, batch, make_repo, set_settings

from llmos.hub.database.tables import repo_blobs, repos


def _send(world, actions: dict[str, Any], content: bytes = CONTENT) -> Any:
    return world.client.put(actions["upload"]["href"], content=content)


def _held(world, name: str) -> dict[str, bool]:
    with world.hub.database.read() as connection:
        rows = connection.execute(
            select(repo_blobs.c.sha256, repo_blobs.c.committed)
            .join(repos, repos.c.id == repo_blobs.c.repo_id)
            .where(repos.c.full_name == name)
        )
        return dict(rows.all())


def test_sent_verified_and_fetched(world, repo) -> None:
    actions = actions_of(world)
    assert world.client.post(actions["verify"]["href"], json={}).status_code == 404
    assert _send(world, actions).status_code == 200
    assert world.client.post(actions["verify"]["href"], json={}).status_code == 200
    assert actions_of(world) == {}
    download = actions_of(world, operation="download")["download"]["href"]
    assert world.client.get(download).content == CONTENT
    assert world.client.get(download, headers={"Range": "bytes=5-9"}).content == CONTENT[5:10]
    assert not list(world.hub.settings.temporary.glob("up-*"))


@pytest.mark.parametrize("wrong", [CONTENT[:-1], CONTENT + b"x", b"y" + CONTENT[1:], b""])
def test_other_bytes_than_announced_are_not_kept(world, repo, wrong) -> None:
    assert _send(world, actions_of(world), wrong).status_code in (400, 413)
    assert OID not in _held(world, "acme/m")
    assert world.hub.blobs.size(OID) is None
    assert not list(world.hub.settings.temporary.glob("up-*"))


def test_an_address_is_for_one_thing(world, repo) -> None:
    make_repo(world, "other")
    upload = actions_of(world)["upload"]["href"]
    for changed in (
        upload.replace(OID, hashlib.sha256(b"x").hexdigest()),
        upload.replace("/100000?", "/1000000?"),
        upload.replace("/put/1/", "/put/2/"),
        upload.replace("/put/1/", "/put/9/"),
        upload.replace("/put/1/", "/put/x/"),
        upload.replace("signature=", "signature=9"),
        upload.partition("?")[0],
    ):
        assert world.client.put(changed, content=CONTENT).status_code == 403, changed
    with world.hub.database.write() as connection:  # another repository of the same number
        connection.execute(update(repos).where(repos.c.full_name == "acme/m").values(created_at=1))
    assert world.client.put(upload, content=CONTENT).status_code == 403


def test_who_may(world, repo) -> None:
    make_repo(world, "secret", private=True)
    assert batch(world, None).status_code == 401
    assert batch(world, None, operation="download").status_code == 200
    assert batch(world, "bob").status_code == 200  # whoever may open a pull request
    assert batch(world, "bob", "acme/secret").status_code == 404
    assert batch(world, None, "acme/secret").status_code == 401
    assert batch(world, "bob", "acme/none").status_code == 404
    with world.hub.database.write() as connection:
        connection.execute(update(repos).values(sharing="federated"))
    assert batch(world, "alice").status_code == 403
    assert "stay at home" in batch(world, "alice").json()["message"]


def test_a_sha256_alone_opens_nothing(world) -> None:
    make_repo(world, "secret", private=True)
    assert _send(world, actions_of(world, "alice", "acme/secret")).status_code == 200
    make_repo(world, "mine", "bob", None)
    assert "upload" in actions_of(world, "bob", "bob/mine")
    assert "upload" in actions_of(world, "bob", "bob/mine", operation="upload")
    found = batch(world, "bob", "bob/mine", operation="download").json()["objects"][0]
    assert found["error"]["code"] == 404
    assert _send(world, actions_of(world, "bob", "bob/mine")).status_code == 200
    assert actions_of(world, "bob", "bob/mine") == {}


def test_what_is_in_a_readable_repository_need_not_be_sent(world) -> None:
    make_repo(world, "open")
    make_repo(world, "mine", "bob", None)
    _send(world, actions_of(world, "alice", "acme/open"))
    assert "upload" in actions_of(world, "bob", "bob/mine")  # sent there, but in no version yet
    with world.hub.database.write() as connection:
        connection.execute(update(repo_blobs).values(committed=True))
    assert actions_of(world, "bob", "bob/mine") == {}
    assert _held(world, "bob/mine")[OID] is False
    make_repo(world, "third", "bob", None)
    with world.hub.database.write() as connection:
        connection.execute(
            update(repos).where(repos.c.full_name == "acme/open").values(gated="manual")
        )
        connection.execute(repo_blobs.delete().where(repo_blobs.c.committed.is_(False)))
    assert "upload" in actions_of(world, "bob", "bob/third")


def test_too_large(world, repo) -> None:
    set_settings(world, file_limit=50_000)
    found = batch(world, "alice").json()["objects"][0]
    assert found["error"]["code"] == 413
    set_settings(world, file_limit=10**9, quota=150_000)
    _send(world, actions_of(world))
    other = [{"oid": "0" * 64, "size": 60_000}]
    answer = batch(world, "alice", objects=other)
    assert answer.status_code == 403
    assert "quota" in answer.json()["error"]
    set_settings(world, quota=0)
    answer = batch(world, "alice", objects=[{"oid": "0" * 64, "size": 1 << 50}])
    assert answer.status_code in (200, 507)


SENSELESS = [
    {"operation": "upload", "objects": [{"oid": "0" * 63, "size": 1}]},
    {"operation": "upload", "objects": [{"oid": "../" * 21 + "a", "size": 1}]},
    {"operation": "upload", "objects": [{"oid": "0" * 64, "size": -1}]},
    {"operation": "upload", "objects": [{"oid": "0" * 64, "size": "1"}]},
    {"operation": "upload", "objects": [{"oid": "0" * 64, "size": True}]},
    {"operation": "upload", "objects": "x"},
    {"operation": "sing", "objects": []},
    {"objects": []},
    {"operation": "upload", "objects": [], "hash_algo": "md5"},
    {"operation": "upload", "objects": [{"oid": f"{n:064x}", "size": 1} for n in range(1001)]},
]


def test_batches_that_make_no_sense(world, repo) -> None:
    for body in SENSELESS:
        answer = world.ask("POST", "/acme/m.git/info/lfs/objects/batch", "alice", json=body)
        assert 400 <= answer.status_code < 500, body
    huge = batch(world, "alice", objects=[{"oid": "0" * 64, "size": 1 << 70}])
    assert huge.status_code in (400, 413, 507) or "error" in huge.json()["objects"][0]


def test_locks_are_declined(world, repo) -> None:
    for method, path in (("GET", "locks"), ("POST", "locks"), ("POST", "locks/verify")):
        answer = world.ask(method, f"/acme/m.git/info/lfs/{path}", "alice")
        assert answer.status_code == 404
        assert "locks" in answer.json()["message"]


@pytest.mark.system
def test_real_git_lfs(world, repo, live, tmp_path: Path) -> None:
    def git(*words: str) -> str:
        run = subprocess.run(
            ["git", *words], cwd=tmp_path, capture_output=True, text=True, env=environment
        )
        assert run.returncode == 0, run.stderr
        return run.stdout + run.stderr

    environment = {**os.environ, "GIT_CONFIG_GLOBAL": str(tmp_path / "none"), "HOME": str(tmp_path)}
    token = world.tokens["alice"]
    git("init", "-q", "-b", "main")
    git("lfs", "install", "--local")
    address = live.replace("http://", f"http://alice:{token}@") + "/acme/m.git/info/lfs"
    git("config", "lfs.url", address)
    git("remote", "add", "origin", "http://127.0.0.1:9/nothing")
    git("lfs", "track", "*.bin")
    (tmp_path / "a.bin").write_bytes(CONTENT)
    git("add", "-A")
    git("-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "one")
    git("lfs", "push", "--object-id", "origin", OID)
    assert b"".join(world.hub.blobs.read(OID)) == CONTENT
    for path in (tmp_path / ".git" / "lfs" / "objects").rglob(OID):
        path.chmod(0o644)
        path.unlink()
    (tmp_path / "a.bin").unlink()
    git("-c", "lfs.fetchexclude=", "lfs", "fetch", "origin", "HEAD")
    git("lfs", "checkout", "a.bin")
    git("checkout", "--", "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
