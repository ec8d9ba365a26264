"""What the hub notes of a file's chunks: wrong, damaged, forgotten with the file."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import select, update
from tests.hub.uploads.xet_reader import RANDOM, REPEATED, SIZE, Reader, Sender, unpacked

from llmos.hub.database.tables import blobs, file_xorbs
from llmos.hub.upkeep.checking import check
from llmos.hub.upkeep.collection import collect
from llmos.hub.uploads.xet import chunklists


def _xorbs(world: Any) -> Any:
    with world.hub.database.read() as connection:
        return connection.execute(select(file_xorbs).order_by(file_xorbs.c.start)).all()


def _state(world: Any) -> Any:
    with world.hub.database.read() as connection:
        return connection.execute(select(blobs).where(blobs.c.size == SIZE)).one()


def test_damage_is_never_sent(sender: Sender) -> None:
    world = sender.world
    name = sender.send(RANDOM)
    reader = Reader(world)
    told = reader.ask(name).json()
    place = world.hub.blobs.path(hashlib.sha256(RANDOM).hexdigest())
    damaged = bytearray(RANDOM)
    damaged[700_000] ^= 1
    place.write_bytes(damaged)
    whole = []
    for term in told["terms"]:
        [part] = told["fetch_info"][term["hash"]]
        answer = world.client.get(part["url"])
        if answer.status_code == 200:
            whole += unpacked(answer.content)
    assert b"".join(whole) and RANDOM.startswith(b"".join(whole))
    assert _state(world).state == "damaged" and not place.exists()
    assert reader.ask(name).status_code == 404
    assert sender.hash() == ""
    assert world.ask("GET", "/acme/m/resolve/main/a.bin", "alice").status_code == 503


def test_a_list_that_is_wrong_does_not_condemn_its_file(
    sender: Sender, over_xet: list[str]
) -> None:
    world = sender.world
    name = sender.send(RANDOM)
    told = Reader(world).ask(name).json()
    [part] = told["fetch_info"][told["terms"][0]["hash"]]
    with world.hub.database.write() as connection:
        row = connection.execute(select(file_xorbs).where(file_xorbs.c.start == 0)).one()
        wrong = row.chunks[:5] + bytes([row.chunks[5] ^ 1]) + row.chunks[6:]
        same = file_xorbs.c.start == 0
        connection.execute(update(file_xorbs).where(same).values(chunks=wrong))
    assert world.client.get(part["url"]).status_code == 503
    assert _state(world).state == "good" and _state(world).xet_hash is None
    assert _xorbs(world) == []
    assert sender.fetch() == RANDOM
    assert over_xet == []


def test_fsck_forgets_lists_that_do_not_fit(sender: Sender) -> None:
    world = sender.world
    sender.send(RANDOM)
    sender.send(REPEATED, "b.bin")
    assert check(world.hub).repaired == []
    with world.hub.database.write() as connection:
        lost = select(blobs.c.sha256).where(blobs.c.sha256 == hashlib.sha256(RANDOM).hexdigest())
        same = (file_xorbs.c.sha256.in_(lost)) & (file_xorbs.c.start > 0)
        connection.execute(file_xorbs.delete().where(same))
        stray = {"sha256": "0" * 64, "start": 0, "hash": "0" * 64, "chunks": b""}
        connection.execute(file_xorbs.insert(), stray)
    report = check(world.hub)
    assert report.sound and len(report.repaired) == 2
    assert sender.hash() == "" and sender.hash("b.bin")
    assert check(world.hub).repaired == []
    assert sender.fetch() == RANDOM


def test_lists_go_with_their_files(sender: Sender) -> None:
    world = sender.world
    sender.send(RANDOM)
    assert _xorbs(world)
    sender.api.delete_repo("acme/m")
    assert collect(world.hub, grace=-60).blobs
    assert _xorbs(world) == []


def test_no_list_is_as_large_as_its_file() -> None:
    fine = chunklists.ChunkList()
    for _ in range(1000):
        fine.add(bytes(32), 1)
    for _ in range(1000):
        fine.add(bytes(32), 100_000)  # coarse enough on average, but not all along

    class Nobody:
        def execute(self, *_: object) -> None:
            raise AssertionError("it was written down")

    fine.record(Nobody(), "0" * 64, fine.finish())  # type: ignore[arg-type]
