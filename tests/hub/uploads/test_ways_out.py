"""Every way that leads to the bytes of a file keeps back what can run code."""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants
from sqlalchemy import select

from llmos.hub.database.tables import blobs


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("ran",)


EVIL = pickle.dumps(Evil(), 0) + b"\n" * 1000  # a text, too: a page would show it
NOISE = random.Random(3).randbytes(1000)  # nobody can tell what it is
Sent = Callable[..., str]


@pytest.fixture
def sent(world: Any, live: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sent:
    """Sends a file to acme/m over Xet, LFS or in the commit; returns its sha256."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))
    api = HfApi(endpoint=live, token=world.tokens["alice"])
    api.create_repo("acme/m")

    def send(content: bytes, path: str, way: str = "xet") -> str:
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", way != "xet")
        if way == "commit":
            rules = b"*.txt -filter\n*.svg -filter\n"
            api.upload_file(path_or_fileobj=rules, path_in_repo=".gitattributes", repo_id="acme/m")
        api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id="acme/m")
        return hashlib.sha256(content).hexdigest()

    return send


def _by_lfs(world: Any, sha256: str, size: int, user: str | None) -> Any:
    """The batch's answer for one object."""
    asked = {"operation": "download", "objects": [{"oid": sha256, "size": size}]}
    answer = world.ask("POST", "/acme/m.git/info/lfs/objects/batch", user, json=asked)
    return answer.json()["objects"][0]


def _by_xet(world: Any, sha256: str, user: str | None) -> int:
    """The status with which a file is told by the hash that its row has."""
    with world.hub.database.read() as connection:
        name = connection.scalar(select(blobs.c.xet_hash).where(blobs.c.sha256 == sha256))
    assert name
    told = world.ask("GET", "/api/models/acme/m/xet-read-token/main", user).json()
    headers = {"Authorization": f"Bearer {told['accessToken']}"}
    answer = world.client.get(f"{told['casUrl']}/v1/reconstructions/{name}", headers=headers)
    return int(answer.status_code)


NAMES = ["model.bin", "model.pkl", "readme.data", "picture.svg", "model.txt.bin"]


@pytest.mark.parametrize("path", NAMES)
def test_what_it_holds_decides_under_every_name(world: Any, sent: Sent, path: str) -> None:
    sha256 = sent(EVIL, path)
    for user in (None, "bob"):
        for way in ("resolve", "raw"):
            assert world.ask("GET", f"/acme/m/{way}/main/{path}", user).status_code == 403
        told = _by_lfs(world, sha256, len(EVIL), user)
        assert told["error"]["code"] == 403 and "print" in told["error"]["message"]
        [about] = world.ask(
            "POST", "/api/models/acme/m/paths-info/main", user, json={"paths": [path]}
        ).json()
        assert "xetHash" not in about
    assert world.ask("GET", f"/acme/m/resolve/main/{path}", "alice").content == EVIL
    assert "actions" in _by_lfs(world, sha256, len(EVIL), "alice")


@pytest.mark.parametrize("way", ["lfs", "commit"])
def test_it_does_not_matter_how_it_came(world: Any, sent: Sent, way: str) -> None:
    sha256 = sent(EVIL, "model.bin" if way == "lfs" else "model.txt", way)
    path = f"/acme/m/resolve/main/model.{'bin' if way == 'lfs' else 'txt'}"
    assert world.ask("GET", path, "bob").status_code == 403
    assert _by_lfs(world, sha256, len(EVIL), "bob")["error"]["code"] == 403


def test_by_xet_it_is_not_there(world: Any, sent: Sent) -> None:
    assert _by_xet(world, sent(NOISE * 2, "noise.bin"), "bob") == 200
    for content in (EVIL, zlib.compress(EVIL)):
        assert _by_xet(world, sent(content, "model.bin"), "bob") == 404


def test_no_page_and_no_diff_shows_it(world: Any, sent: Sent) -> None:
    sent(EVIL, "model.txt", "commit")
    lines = [
        {"key": "header", "value": {"summary": "another"}},
        {"key": "file", "value": {"path": "b.txt", "content": EVIL.decode(), "encoding": "utf-8"}},
    ]
    body = "\n".join(json.dumps(line) for line in lines)
    made = world.ask("POST", "/api/models/acme/m/commit/main?create_pr=1", "bob", content=body)
    assert made.status_code == 200, made.text
    shown = world.ask("GET", "/api/models/acme/m/discussions/1?diff=1", "bob").json()["diff"]
    assert "b.txt" in shown and "print" not in shown


def test_the_name_adds_where_nobody_can_tell(world: Any, sent: Sent) -> None:
    """The same bytes under a name that nothing unpickles are served, else anybody could have a file
    of others kept back; who asks by hash gets no name with it."""
    sha256 = sent(NOISE, "model.pkl")
    sent(NOISE, "noise.bin")
    assert world.ask("GET", "/acme/m/resolve/main/model.pkl", "bob").status_code == 403
    assert world.ask("GET", "/acme/m/resolve/main/noise.bin", "bob").content == NOISE
    assert "actions" in _by_lfs(world, sha256, len(NOISE), "bob")
