"""Blocks and lines: nothing lost before a damage, nothing held in memory that need not be."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from llmos.data.reading.parts import UnreadableError
from llmos.data.reading.streams import BLOCK, BOMB, DAMAGED, SHRUNK, blocks, split_lines, whole

DATA = bytes(random.Random(0).choices(b"abcdefgh \n", k=2_500_000))


def quick(data: bytes) -> bytes:
    return gzip.compress(data, 1)


def until_damage(path: Path) -> tuple[bytes, str]:
    """What is read, and the reason why no more is."""
    held = []
    try:
        for block in blocks(str(path)):
            assert 0 < len(block) <= 33 * BLOCK
            held.append(block)
    except UnreadableError as error:
        return b"".join(held), str(error)
    return b"".join(held), ""


@pytest.mark.parametrize("name", ["a.txt", "a.gz", "a.GZ", "a.zst"])
def test_all_bytes_come_back(tmp_path: Path, name: str) -> None:
    pack = {"txt": bytes, "gz": quick, "zst": zstandard.compress}[name[2:].lower()]
    path = tmp_path / name
    path.write_bytes(pack(DATA))
    assert until_damage(path) == (DATA, "")
    if name != "a.txt":  # several members, and zeros behind the last one as tapes have them
        path.write_bytes(pack(DATA) + pack(b"") + pack(b"more"))
        assert until_damage(path) == (DATA + b"more", "")
    if name == "a.gz":
        path.write_bytes(pack(DATA) + bytes(512))
        assert until_damage(path) == (DATA, "")


def test_a_range_of_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(DATA)
    assert whole(blocks(str(path), 10, 2_000_000)) == DATA[10:2_000_000]
    with pytest.raises(UnreadableError, match=SHRUNK):
        list(blocks(str(path), 10, len(DATA) + 1))


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("damage", ["cut", "cut at the end", "overwritten", "no archive"])
def test_what_stands_before_a_damage_is_read(tmp_path: Path, suffix: str, damage: str) -> None:
    pack = {"gz": quick, "zst": zstandard.compress}[suffix]
    first, second = pack(DATA), pack(DATA[::-1])
    data = {
        "cut": first + second[: len(second) // 2],
        "cut at the end": first + second[:-1],
        "overwritten": first + second[:100_000] + b"\xff" * 64 + second[100_064:],
        "no archive": first + b"this is no archive",
    }[damage]
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data)
    found, reason = until_damage(path)
    assert reason == DAMAGED
    assert found.startswith(DATA)
    assert (DATA + DATA[::-1]).startswith(found) or damage == "overwritten"


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_an_archive_that_expands_without_end_is_given_up(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    megabyte = bytes(1 << 20)
    if suffix == "gz":
        packer = zlib.compressobj(1, wbits=31)
        path.write_bytes(b"".join(packer.compress(megabyte) for _ in range(150)) + packer.flush())
    else:
        packer = zstandard.ZstdCompressor().compressobj()
        path.write_bytes(b"".join(packer.compress(megabyte) for _ in range(150)) + packer.flush())
    tracemalloc.start()
    size = 0
    with pytest.raises(UnreadableError, match=BOMB[:30]):
        for block in blocks(str(path)):
            size += len(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size <= 65 << 20
    assert peak < 100 << 20


@given(st.lists(st.binary(max_size=6)), st.integers(1, 8))
def test_lines_are_those_of_the_whole(parts: list[bytes], longest: int) -> None:
    data = b"".join(parts)
    expected = [line if len(line) <= longest else None for line in data.split(b"\n")]
    if expected[-1] == b"":
        expected.pop()
    assert list(split_lines(parts, longest)) == expected


def test_a_line_of_200_megabytes_takes_little_memory() -> None:
    megabyte = b"x" * (1 << 20)
    stream = (block for block in [b"first\n", *[megabyte] * 200, b"\nlast"])
    tracemalloc.start()
    assert list(split_lines(stream)) == [b"first", None, b"last"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20


def test_a_whole_that_is_too_long() -> None:
    with pytest.raises(UnreadableError, match="longer than"):
        whole(iter([b"abc", b"def"]), 5)
