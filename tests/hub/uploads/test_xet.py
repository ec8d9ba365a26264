"""Files that are built of chunks in the Xet store: by shards that lie, of chunks that are lost."""

from __future__ import annotations

import hashlib
import random
import time

import pytest
from sqlalchemy import select
from tests.hub.uploads.xet_sender import CHUNKS, Store, make_shard, make_xorb

from llmos.hub.database.tables import repo_blobs
from llmos.hub.uploads.xet import hashes, shards
from llmos.hub.uploads.xet.xorbs import forget_old_xorbs


def _blobs(world) -> set[str]:
    with world.hub.database.read() as connection:
        return set(connection.scalars(select(repo_blobs.c.sha256)))


@pytest.mark.parametrize("scheme", [0, 1, 2])
@pytest.mark.parametrize("footer", [b"", b"XETBLOB\0" + bytes(500)])
def test_a_file_is_built_of_its_chunks(world, store, scheme, footer) -> None:
    first, one = make_xorb(CHUNKS[:10], scheme)
    second, two = make_xorb(CHUNKS[10:], scheme)
    assert store.xorb(first, one + footer).json() == {"was_inserted": True}
    assert store.xorb(first, one).json() == {"was_inserted": False}
    assert store.xorb(second, two).status_code == 200
    content = [*CHUNKS[3:8], *CHUNKS[10:], *CHUNKS[:1]]
    terms = [(first, 3, 8), (second, 0, 30), (first, 0, 1)]
    assert store.shard(make_shard(terms, content)).json() == {"result": 1}
    assert store.shard(make_shard(terms, content)).json() == {"result": 0}
    sha256 = hashlib.sha256(b"".join(content)).hexdigest()
    assert b"".join(world.hub.blobs.read(sha256)) == b"".join(content)
    assert not list(world.hub.settings.temporary.glob("up-*"))


def test_shards_that_lie(world, store) -> None:
    name, body = make_xorb(CHUNKS[:10])
    store.xorb(name, body)
    some = CHUNKS[2:5]
    terms = [(name, 2, 5)]
    good = make_shard(terms, some)
    lies = {
        "sha256": make_shard(terms, some, sha256="0" * 64),
        "file hash": make_shard(terms, some, name=bytes(32)),
        "proof": make_shard(terms, some, proof=bytes(32)),
        "size": make_shard(terms, some, size=5),
        "huge size": make_shard(terms, some, size=0xFFFFFFFF),
        "huge count": make_shard(terms, some, count=0xFFFFFFFF),
        "other chunks": make_shard([(name, 3, 6)], some),
        "beyond the end": make_shard([(name, 8, 11)], some),
        "far beyond": make_shard([(name, 0, 0x7FFFFFFF)], some, size=1),
        "backwards": make_shard([(name, 5, 2)], some),
        "nothing": make_shard([(name, 2, 2)], some),
        "unknown xorb": make_shard([(hashes.to_text(bytes(31) + b"x"), 2, 5)], some),
        "no sha256": make_shard(terms, some, flags=shards.WITH_PROOFS),
        "version": make_shard(terms, some, version=3),
        "no end": make_shard(terms, some, end=False),
        "cut off": good[:150],
        "empty": b"",
        "noise": random.Random(1).randbytes(3000),
    }
    for what, shard in lies.items():
        assert store.shard(shard).status_code == 400, what
    assert _blobs(world) == _blobs(world) and len(_blobs(world)) == 1  # .gitattributes
    assert not list(world.hub.settings.temporary.glob("up-*"))
    assert store.shard(good).status_code == 200
    assert store.shard(make_shard(terms, some, flags=shards.WITH_SHA256)).status_code == 200


def test_old_chunks_go_and_clients_are_told(world, store) -> None:
    name, body = make_xorb(CHUNKS[:3])
    store.xorb(name, body)
    assert forget_old_xorbs(world.hub, 0) == 0
    assert Store(world).address == store.address
    assert forget_old_xorbs(world.hub, time.time_ns() // 1_000_000 + 1000) > len(body) - 100
    fresh = Store(world)
    assert fresh.address != store.address
    assert fresh.shard(make_shard([(name, 0, 3)], CHUNKS[:3])).status_code == 400
    assert fresh.xorb(name, body).status_code == 200
    assert fresh.shard(make_shard([(name, 0, 3)], CHUNKS[:3])).status_code == 200


@pytest.mark.parametrize("damage", ["gone", "short", "changed"])
def test_a_damaged_xorb_is_asked_for_again(world, store, damage) -> None:
    name, body = make_xorb(CHUNKS[:3])
    store.xorb(name, body)
    place = next(p for p in (world.hub.settings.folder / "xorbs").rglob(name))
    content = place.read_bytes()
    if damage == "gone":
        place.unlink()
    else:
        place.write_bytes(content[:-5] if damage == "short" else b"x" + content[1:])
    shard = make_shard([(name, 0, 3)], CHUNKS[:3])
    assert store.shard(shard).status_code == 400
    fresh = Store(world)
    assert fresh.address != store.address  # the client forgets what it sent
    assert fresh.xorb(name, body).status_code == 200
    assert fresh.shard(shard).status_code == 200


def test_limits_of_size(world, store) -> None:
    from dataclasses import replace

    name, body = make_xorb(CHUNKS[:10])
    store.xorb(name, body)
    settings = world.hub.settings
    object.__setattr__(world.hub, "settings", replace(settings, file_limit=10_000))
    assert store.shard(make_shard([(name, 0, 3)], CHUNKS[:3])).status_code == 413
    object.__setattr__(world.hub, "settings", replace(settings, quota=20_000))
    assert store.shard(make_shard([(name, 0, 3)], CHUNKS[:3])).status_code == 403
    object.__setattr__(world.hub, "settings", settings)
    assert store.shard(make_shard([(name, 0, 3)], CHUNKS[:3])).status_code == 200
