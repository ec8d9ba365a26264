"""Xorbs: chunks as they are sent, by senders that lie or send bombs."""

from __future__ import annotations

import random
from typing import Any

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from tests.hub.uploads.xet_sender import CHUNKS, head_of, make_xorb, pack

from llmos.hub.database.tables import xorbs
from llmos.hub.errors import HubError
from llmos.hub.uploads.xet import format as xorb_format
from llmos.hub.uploads.xet import hashes


def test_xorbs_that_lie(world, store) -> None:
    name, body = make_xorb(CHUNKS[:3])
    good = CHUNKS[0]
    frame = lz4.frame.compress(good)
    bodies = {
        "another name": (hashes.to_text(bytes(32)), body),
        "changed": (name, body[:-1] + bytes([body[-1] ^ 1])),
        "cut off": (name, body[:-1]),
        "cut in a head": (name, body + b"\0\1"),
        "empty": (name, b""),
        "noise": (name, random.Random(1).randbytes(5000)),
        "scheme": (name, head_of(len(good), 3, len(good)) + good),
        "version": (name, head_of(len(good), 0, len(good), 1) + good),
        "size of 0": (name, head_of(0, 0, 0)),
        "a bomb": (name, head_of(len(x := lz4.frame.compress(bytes(16_000_000))), 1, 1000) + x),
        "too large a chunk": (name, head_of(5, 0, 131_073) + bytes(5)),
        "shorter": (name, head_of(len(frame), 1, len(good) + 1) + frame),
        "two frames": (name, head_of(2 * len(frame), 1, len(good)) + frame + frame),
        "half a frame": (name, head_of(len(frame) - 9, 1, len(good)) + frame[:-9]),
    }
    for what, (called, sent) in bodies.items():
        assert store.xorb(called, sent).status_code == 400, what
    for called in ("x", name.upper(), name + "0", "..%2f" * 10):
        assert store.xorb(called, body).status_code in (400, 404), called
    with world.hub.database.read() as connection:
        assert connection.execute(select(xorbs)).all() == []
    assert not [one for one in (world.hub.settings.folder / "xorbs").rglob("*") if one.is_file()]
    assert not list(world.hub.settings.temporary.glob("up-*"))


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    class Watched:
        def __init__(self) -> None:
            self.inner = real()

        def decompress(self, data: bytes, *limit: int) -> bytes:
            plain = self.inner.decompress(data, *limit)
            sizes.append(len(plain))
            return plain

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    real = lz4.frame.LZ4FrameDecompressor
    monkeypatch.setattr(lz4.frame, "LZ4FrameDecompressor", Watched)
    with pytest.raises(HubError):
        xorb_format.unpack(1, lz4.frame.compress(bytes(10_000_000)), 1000)
    assert sizes and max(sizes) <= 1001


def test_a_bomb_of_many_chunks_is_stopped() -> None:
    class Nowhere:
        def write(self, data: bytes) -> None:
            assert len(data) <= xorb_format.LARGEST_CHUNK

    packed = pack(bytes(xorb_format.LARGEST_CHUNK), 1)
    unpacker = xorb_format.Unpacker(Nowhere())
    with pytest.raises(HubError):
        for _ in range(2000):
            unpacker.feed(packed)
    assert unpacker.size <= xorb_format.LARGEST_XORB + xorb_format.LARGEST_CHUNK


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=20), st.data())
def test_it_does_not_matter_how_a_xorb_is_cut(chunks: list[bytes], data: st.DataObject) -> None:
    class Kept(list):
        write = list.append

    name, body = make_xorb(chunks, data.draw(st.sampled_from([0, 1, 2])))
    kept = Kept()
    unpacker = xorb_format.Unpacker(kept)
    while body:
        cut = data.draw(st.integers(1, len(body)))
        unpacker.feed(body[:cut])
        body = body[cut:]
    assert hashes.to_text(unpacker.finish()) == name
    assert b"".join(kept) == b"".join(chunks)
