"""Files that came by Xet leave by Xet: with the real client, and against readers that guess."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest
from blake3 import blake3
from huggingface_hub import CommitOperationCopy, constants
from sqlalchemy import func, select, update
from tests.hub.uploads.xet_reader import RANDOM, REPEATED, SIZE, Reader, Sender, unpacked

from llmos.hub.database.tables import blobs, file_xorbs, repo_blobs
from llmos.hub.uploads.xet import hashes


@pytest.mark.parametrize("content", [b"binary data", RANDOM, REPEATED, bytes(SIZE)])
def test_a_file_comes_back_over_xet(sender: Sender, over_xet: list[str], content: bytes) -> None:
    name = sender.send(content)
    assert sender.fetch() == content
    assert over_xet == [name]
    reader = Reader(sender.world)
    for version in ("v1", "v2"):
        assert reader.read(name, version=version) == content


def test_what_a_client_sees_of_it(sender: Sender) -> None:
    name = sender.send(RANDOM, repo="acme/data", repo_type="model")
    world = sender.world
    head = world.ask("HEAD", "/acme/data/resolve/main/a.bin", "alice")
    commit = head.headers["x-repo-commit"]
    assert head.headers["x-xet-hash"] == name
    route = f"/api/models/acme/data/xet-read-token/{commit}"
    assert head.headers["link"].endswith(f'{route}>; rel="xet-auth"')
    assert world.ask("GET", route, "alice").status_code == 200
    [file] = [one for one in sender.api.list_repo_tree("acme/data") if one.path == "a.bin"]
    assert file.xet_hash == name


def test_without_xet_a_file_comes_in_the_plain_way(
    sender: Sender, over_xet: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sender.send(RANDOM)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    assert sender.fetch() == RANDOM
    assert sender.send(REPEATED, "lfs.bin") == ""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    assert sender.fetch("lfs.bin") == REPEATED
    assert over_xet == []
    again = sender.send(REPEATED, "xet.bin")  # sent once more, by Xet
    assert again and sender.hash("lfs.bin") == again
    assert sender.fetch("lfs.bin") == REPEATED
    assert over_xet == [again]


@pytest.mark.parametrize("content", [RANDOM, REPEATED])
def test_any_range(sender: Sender, content: bytes) -> None:
    name = sender.send(content)
    reader = Reader(sender.world)
    draw = random.Random(3)
    cuts = [row.start for row in _xorbs(sender.world)]
    edges = {0, 1, len(content) - 1, len(content)} | {c + d for c in cuts for d in (-1, 0, 1)}
    points = sorted(p for p in edges if 0 <= p <= len(content))
    spans = [(a, b) for a in points for b in points if a < b]
    for start, stop in draw.sample(spans, 25):
        for version in ("v1", "v2"):
            assert reader.read(name, (start, stop), version)[: stop - start] == content[start:stop]
    beyond = reader.ask(name, (len(content), len(content) + 5))
    assert beyond.status_code == 416
    assert reader.read(name, (len(content) - 5, 2**64 - 1)) == content[-5:]


def _xorbs(world: Any) -> Any:
    with world.hub.database.read() as connection:
        return connection.execute(select(file_xorbs).order_by(file_xorbs.c.start)).all()


def test_hashes_are_those_of_the_bytes(sender: Sender) -> None:
    name = sender.send(RANDOM)
    reader = Reader(sender.world)
    told = reader.ask(name).json()
    whole = hashes.MerkleTree()
    assert len(told["terms"]) > 5
    for term in told["terms"]:
        [place] = told["fetch_info"][term["hash"]]
        tree = hashes.MerkleTree()
        for chunk in unpacked(reader.fetch(place["url"], 0, 10**9).content):
            tree.add(blake3(chunk, key=hashes.DATA_KEY).digest(), len(chunk))
            whole.add(blake3(chunk, key=hashes.DATA_KEY).digest(), len(chunk))
        assert hashes.to_text(tree.xorb_hash()) == term["hash"]
    assert hashes.to_text(whole.file_hash()) == name


@pytest.mark.parametrize("begin,length", [(0, 1), (5, 4), (7, 2), (100_000, 100_000), (3, 10**9)])
def test_any_bytes_of_a_xorb(sender: Sender, begin: int, length: int) -> None:
    name = sender.send(RANDOM)
    reader = Reader(sender.world)
    told = reader.ask(name).json()
    [place] = told["fetch_info"][told["terms"][1]["hash"]]
    whole = sender.world.client.get(place["url"]).content
    assert (
        reader.fetch(place["url"], begin, begin + length - 1).content
        == (whole[begin : begin + length])
    )


def test_a_hash_alone_opens_nothing(sender: Sender) -> None:
    world = sender.world
    name = sender.send(RANDOM, repo="acme/secret", private=True)
    sender.send(REPEATED)
    mine = Reader(world, "acme/m", "bob")
    unknown = mine.ask("0" * 64)
    assert unknown.status_code == 404
    for version in ("v1", "v2"):
        assert mine.ask(name, version=version).status_code == 404
        assert mine.ask(name, version=version).json() == unknown.json()
    assert mine.ask("..").status_code == mine.ask(name.upper()).status_code == 404
    own = Reader(world, "acme/secret")
    writing = world.ask("GET", "/api/models/acme/secret/xet-write-token/main", "alice").json()
    for token in (mine.token, writing["accessToken"], world.tokens["alice"], "", "x"):
        stranger = Reader(world, "acme/secret")
        stranger.token = token
        assert stranger.ask(name).status_code == 401
    # an address of one file opens no other
    told = own.ask(name).json()
    url = next(iter(told["fetch_info"].values()))[0]["url"]
    assert world.client.get(url).status_code == 200
    secret, other = (hashlib.sha256(content).hexdigest() for content in (RANDOM, REPEATED))
    for wrong in (url.replace(secret, other), url[:-1] + "x", url.partition("?")[0]):
        assert world.client.get(wrong).status_code == 403
    for number in ("1", "x", "9" * 30):
        assert world.client.get(url.replace("/0?", f"/{number}?")).status_code == 404


def test_what_is_not_committed_or_gone_is_not_read(sender: Sender) -> None:
    world = sender.world
    name = sender.send(RANDOM)
    reader = Reader(world)
    url = next(iter(reader.ask(name).json()["fetch_info"].values()))[0]["url"]
    sha256 = hashlib.sha256(RANDOM).hexdigest()
    with world.hub.database.write() as connection:
        connection.execute(update(repo_blobs).values(committed=False))
    assert reader.ask(name).status_code == 404
    with world.hub.database.write() as connection:
        connection.execute(update(repo_blobs).values(committed=True))
    assert reader.ask(name).status_code == 200
    files = [one for one in sender.api.list_lfs_files("acme/m") if one.oid == sha256]
    sender.api.permanently_delete_lfs_files("acme/m", files)
    assert reader.ask(name).status_code == 404
    assert world.client.get(url).status_code == 404


def test_what_is_kept_back_is_not_offered(sender: Sender) -> None:
    world = sender.world
    evil = b"\x80\x04cos\nsystem\n(S'true'\ntR." + bytes(SIZE)
    name = sender.send(evil, "model.pkl")
    assert name == ""
    with world.hub.database.read() as connection:
        [row] = connection.execute(select(blobs).where(blobs.c.xet_hash.is_not(None))).all()
    assert row.state == "quarantined"
    assert Reader(world).ask(row.xet_hash).status_code == 404
    head = world.ask("HEAD", "/acme/m/resolve/main/model.pkl", "alice")
    assert head.status_code == 200 and "x-xet-hash" not in head.headers
    hidden = sender.send(RANDOM, "weights.pt")  # nobody can tell what is in it: by its name alone
    assert hidden == ""
    head = world.ask("HEAD", "/acme/m/resolve/main/weights.pt", "alice")
    assert head.status_code == 200 and "x-xet-hash" not in head.headers


def test_copies_between_repositories_send_nothing(sender: Sender) -> None:
    world = sender.world
    sender.send(RANDOM)
    sender.api.create_repo("acme/copy", repo_type="dataset")
    before = _bytes(world)
    operation = CommitOperationCopy(
        src_path_in_repo="a.bin",
        path_in_repo="b.bin",
        src_repo_id="acme/m",
        src_repo_type="model",
    )
    sender.api.create_commit("acme/copy", [operation], commit_message="copied", repo_type="dataset")
    assert sender.fetch("b.bin", "acme/copy", repo_type="dataset") == RANDOM
    assert _bytes(world) == before


def _bytes(world: Any) -> int:
    with world.hub.database.read() as connection:
        large = select(func.sum(blobs.c.size)).where(blobs.c.size > 10_000)
        return int(connection.scalar(large) or 0)


def test_a_store_that_clients_reach_needs_no_detour(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender.send(RANDOM)
    monkeypatch.setattr(type(sender.world.hub.blobs), "direct", True)
    head = sender.world.ask("HEAD", "/acme/m/resolve/main/a.bin", "alice")
    assert "x-xet-hash" not in head.headers
    [file] = [one for one in sender.api.list_repo_tree("acme/m") if one.path == "a.bin"]
    assert file.xet_hash is None
    assert sender.hash()  # which a copy needs
