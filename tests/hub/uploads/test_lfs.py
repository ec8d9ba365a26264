"""Git LFS by hand: what is asked for, what is there already, who may."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from llmos.hub.database.tables import repo_blobs, repos
from llmos.hub.uploads import multipart

CONTENT = random.Random(7).randbytes(100_000)
OID = hashlib.sha256(CONTENT).hexdigest()


def _batch(world, user: str | None, repo: str = "acme/m", operation="upload", **more: Any) -> Any:
    objects = more.pop("objects", [{"oid": OID, "size": len(CONTENT)}])
    body = {"operation": operation, "objects": objects, **more}
    return world.ask("POST", f"/{repo}.git/info/lfs/objects/batch", user, json=body)


def _actions(world, user: str = "alice", repo: str = "acme/m", **more: Any) -> dict[str, Any]:
    answer = _batch(world, user, repo, **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/vnd.git-lfs+json"
    return answer.json()["objects"][0].get("actions", {})


def _send(world, actions: dict[str, Any], content: bytes = CONTENT) -> Any:
    return world.client.put(actions["upload"]["href"], content=content)


def _set(world, **values: Any) -> None:
    object.__setattr__(world.hub, "settings", replace(world.hub.settings, **values))


def _make(world, name: str = "m", user: str = "alice", org: str | None = "acme", **more) -> None:
    body = {"name": name, "organization": org, **more}
    assert world.ask("POST", "/api/repos/create", user, json=body).status_code == 200


def _held(world, name: str) -> dict[str, bool]:
    with world.hub.database.read() as connection:
        rows = connection.execute(
            select(repo_blobs.c.sha256, repo_blobs.c.committed)
            .join(repos, repos.c.id == repo_blobs.c.repo_id)
            .where(repos.c.full_name == name)
        )
        return dict(rows.all())


@pytest.fixture
def repo(world) -> None:
    _make(world)


def test_sent_verified_and_fetched(world, repo) -> None:
    actions = _actions(world)
    assert world.client.post(actions["verify"]["href"], json={}).status_code == 404
    assert _send(world, actions).status_code == 200
    assert world.client.post(actions["verify"]["href"], json={}).status_code == 200
    assert _actions(world) == {}
    download = _actions(world, operation="download")["download"]["href"]
    assert world.client.get(download).content == CONTENT
    assert world.client.get(download, headers={"Range": "bytes=5-9"}).content == CONTENT[5:10]
    assert not list(world.hub.settings.temporary.glob("up-*"))


@pytest.mark.parametrize("wrong", [CONTENT[:-1], CONTENT + b"x", b"y" + CONTENT[1:], b""])
def test_other_bytes_than_announced_are_not_kept(world, repo, wrong) -> None:
    assert _send(world, _actions(world), wrong).status_code in (400, 413)
    assert OID not in _held(world, "acme/m")
    assert world.hub.blobs.size(OID) is None
    assert not list(world.hub.settings.temporary.glob("up-*"))


def test_an_address_is_for_one_thing(world, repo) -> None:
    _make(world, "other")
    upload = _actions(world)["upload"]["href"]
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
    _make(world, "secret", private=True)
    assert _batch(world, None).status_code == 401
    assert _batch(world, None, operation="download").status_code == 200
    assert _batch(world, "bob").status_code == 200  # whoever may open a pull request
    assert _batch(world, "bob", "acme/secret").status_code == 404
    assert _batch(world, None, "acme/secret").status_code == 401
    assert _batch(world, "bob", "acme/none").status_code == 404
    with world.hub.database.write() as connection:
        connection.execute(update(repos).values(sharing="federated"))
    assert _batch(world, "alice").status_code == 403
    assert "stay at home" in _batch(world, "alice").json()["message"]


def test_a_sha256_alone_opens_nothing(world) -> None:
    _make(world, "secret", private=True)
    assert _send(world, _actions(world, "alice", "acme/secret")).status_code == 200
    _make(world, "mine", "bob", None)
    assert "upload" in _actions(world, "bob", "bob/mine")
    assert "upload" in _actions(world, "bob", "bob/mine", operation="upload")
    found = _batch(world, "bob", "bob/mine", operation="download").json()["objects"][0]
    assert found["error"]["code"] == 404
    assert _send(world, _actions(world, "bob", "bob/mine")).status_code == 200
    assert _actions(world, "bob", "bob/mine") == {}


def test_what_is_in_a_readable_repository_need_not_be_sent(world) -> None:
    _make(world, "open")
    _make(world, "mine", "bob", None)
    _send(world, _actions(world, "alice", "acme/open"))
    assert "upload" in _actions(world, "bob", "bob/mine")  # sent there, but in no version yet
    with world.hub.database.write() as connection:
        connection.execute(update(repo_blobs).values(committed=True))
    assert _actions(world, "bob", "bob/mine") == {}
    assert _held(world, "bob/mine")[OID] is False
    _make(world, "third", "bob", None)
    with world.hub.database.write() as connection:
        connection.execute(
            update(repos).where(repos.c.full_name == "acme/open").values(gated="manual")
        )
        connection.execute(repo_blobs.delete().where(repo_blobs.c.committed.is_(False)))
    assert "upload" in _actions(world, "bob", "bob/third")


def test_too_large(world, repo) -> None:
    _set(world, file_limit=50_000)
    found = _batch(world, "alice").json()["objects"][0]
    assert found["error"]["code"] == 413
    _set(world, file_limit=10**9, quota=150_000)
    _send(world, _actions(world))
    other = [{"oid": "0" * 64, "size": 60_000}]
    answer = _batch(world, "alice", objects=other)
    assert answer.status_code == 403
    assert "quota" in answer.json()["error"]
    _set(world, quota=0)
    answer = _batch(world, "alice", objects=[{"oid": "0" * 64, "size": 1 << 50}])
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
    huge = _batch(world, "alice", objects=[{"oid": "0" * 64, "size": 1 << 70}])
    assert huge.status_code in (400, 413, 507) or "error" in huge.json()["objects"][0]


def _parts(world) -> tuple[dict[str, Any], list[bytes]]:
    _set(world, multipart_above=1000, part_size=30_000)
    upload = _actions(world, transfers=["basic", "multipart"])["upload"]
    assert upload["header"]["chunk_size"] == "30000"
    assert len(upload["header"]) == 5
    return upload, [CONTENT[at : at + 30_000] for at in range(0, len(CONTENT), 30_000)]


def _part(world, upload: dict[str, Any], number: int, content: bytes) -> Any:
    return world.client.put(upload["header"][f"{number:05d}"], content=content)


def _complete(world, upload: dict[str, Any]) -> Any:
    return world.client.post(upload["href"], json={"oid": OID, "parts": []})


@pytest.mark.parametrize("order", [[1, 2, 3, 4], [4, 3, 2, 1], [1, 2, 1, 3, 4]])
def test_parts_in_any_order(world, repo, order) -> None:
    upload, parts = _parts(world)
    for number in order:
        assert _complete(world, upload).status_code == 400
        assert _part(world, upload, number, parts[number - 1]).headers["etag"]
        if number == 2:
            assert _part(world, upload, 2, b"short").status_code == 400
            assert _part(world, upload, 2, parts[1]).status_code == 200
    assert _complete(world, upload).status_code == 200
    assert _complete(world, upload).status_code == 200
    assert b"".join(world.hub.blobs.read(OID)) == CONTENT
    assert not list((world.hub.settings.temporary / "multipart").iterdir())


def test_a_part_that_was_changed_later_is_seen(world, repo) -> None:
    upload, parts = _parts(world)
    for number, part in enumerate(parts, 1):
        _part(world, upload, number, part)
    assert _part(world, upload, 1, b"y" * 30_000).status_code == 200
    assert _complete(world, upload).status_code == 400
    assert world.hub.blobs.size(OID) is None
    for number, part in enumerate(parts, 1):
        _part(world, upload, number, part)
    assert _complete(world, upload).status_code == 200


def test_nothing_is_assembled_while_a_part_is_written(world, repo) -> None:
    upload, parts = _parts(world)
    plan = multipart.Plan(1, OID, len(CONTENT), 30_000)
    for number, part in enumerate(parts, 1):
        _part(world, upload, number, part)
    with multipart.Part(world.hub, plan, 1) as slow:
        assert _part(world, upload, 1, parts[0]).status_code == 200
        assert _complete(world, upload).status_code == 409
        slow.write(b"evil")
    assert _complete(world, upload).status_code == 400
    assert world.hub.blobs.size(OID) is None


def test_a_part_that_was_begun_early_does_not_pass_unseen(world, repo) -> None:
    upload, parts = _parts(world)
    plan = multipart.Plan(1, OID, len(CONTENT), 30_000)
    with multipart.Part(world.hub, plan, 3) as slow:
        for number, part in enumerate(parts, 1):
            _part(world, upload, number, part)
        slow.write(b"evil")
    assert _complete(world, upload).status_code == 400


def test_parts_outlive_the_process_and_are_forgotten_some_day(world, repo) -> None:
    upload, parts = _parts(world)
    for number, part in enumerate(parts[:2], 1):
        _part(world, upload, number, part)
    multipart._hashes._held.clear()
    for number, part in enumerate(parts[2:], 3):
        _part(world, upload, number, part)
    assert multipart.forget_old_parts(world.hub, 0) == 0
    assert _complete(world, upload).status_code == 200
    _part(world, upload, 1, parts[0])
    assert multipart.forget_old_parts(world.hub, time.time_ns() // 1_000_000 + 5000) > 0
    assert not list((world.hub.settings.temporary / "multipart").iterdir())


def test_numbers_of_parts(world, repo) -> None:
    upload, parts = _parts(world)
    address = upload["header"]["00001"]
    for number in ("0", "5", "-1", "1.0", "x", "99999999999999999999"):
        changed = address.replace("/30000/1?", f"/30000/{number}?")
        assert world.client.put(changed, content=parts[0]).status_code == 400
    assert _part(world, upload, 1, parts[0] + b"x").status_code in (400, 413)


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
