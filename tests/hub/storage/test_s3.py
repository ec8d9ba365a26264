"""The same behaviour of both stores: the local disk, and a bucket of a real S3 server."""

from __future__ import annotations

import hashlib
import random
import urllib.request
from pathlib import Path

import pytest

from llmos.hub.errors import HubError
from llmos.hub.settings import HubSettings
from llmos.hub.storage.staging import staged_bytes
from llmos.hub.storage.store import BlobStore, open_store

LARGE = random.Random(5).randbytes((16 << 20) + 12_345)


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.system)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "disk":
        return open_store(HubSettings(folder=tmp_path / "hub"))
    return open_store(HubSettings(folder=tmp_path / "hub", **request.getfixturevalue("bucket")))


def _put(store: BlobStore, folder: Path, content: bytes) -> str:
    with staged_bytes(folder / "tmp", [content]) as staged:
        store.put(staged)
        return staged.sha256


@pytest.mark.parametrize("content", [b"", b"x", LARGE], ids=["empty", "byte", "large"])
def test_bytes_come_back(store: BlobStore, tmp_path: Path, content: bytes) -> None:
    sha256 = _put(store, tmp_path, content)
    assert sha256 == hashlib.sha256(content).hexdigest()
    assert store.size(sha256) == len(content)
    assert b"".join(store.read(sha256)) == content
    for start, stop in ((0, 1), (1, 1), (5, 1000), (len(content) - 3, len(content))):
        start, stop = max(0, start), min(max(0, stop), len(content))
        assert b"".join(store.read(sha256, start, stop)) == content[start:stop]
    assert _put(store, tmp_path, content) == sha256
    assert [one.sha256 for one in store.list()] == [sha256]
    assert [one.size for one in store.list()] == [len(content)]


def test_what_is_not_there(store: BlobStore) -> None:
    assert store.size("0" * 64) is None
    store.delete("0" * 64)
    with pytest.raises(HubError) as caught:
        list(store.read("0" * 64))
    assert caught.value.status == 404
    assert list(store.list()) == []


def test_deleted_and_set_aside(store: BlobStore, tmp_path: Path) -> None:
    first, second, third = (_put(store, tmp_path, text) for text in (b"a", b"b", b"c"))
    store.delete(first)
    store.set_aside(second)
    assert [one.sha256 for one in store.list()] == [third]
    assert store.size(first) is None and store.size(second) is None
    young = next(iter(store.list())).modified
    assert not store.delete_old(third, young)
    assert store.delete_old(third, young + 1)
    assert list(store.list()) == []


def test_anybody_may_use_a_link(store: BlobStore, tmp_path: Path) -> None:
    sha256 = _put(store, tmp_path, b"hello")
    link = store.link(sha256, seconds=60, filename="a.txt")
    if link is None:
        assert store.path(sha256) is not None
        return
    request = urllib.request.Request(link, headers={"Range": "bytes=1-2"})
    assert urllib.request.urlopen(request).read() == b"el"


def test_a_server_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    from llmos.hub.storage import s3

    monkeypatch.setattr(s3, "PATIENCE", {"max_retries": 0})
    store = s3.S3Store("s3://bucket/prefix", "http://127.0.0.1:9")
    with pytest.raises(HubError) as caught:
        store.size("0" * 64)
    assert caught.value.status == 503
