"""Pickles written so that who follows them loses their trace, and pickles in compressed files.

Each is opened with the library that a victim would use, to show that it would run code.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import random
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable

import lz4.frame
import pytest

from llmos.hub.uploads import landing, packed

CALL = b"(S'true'\ntR."  # os.system of what is on the stack
IMPORT = b"cos\nsystem\n"


def _text(content: bytes) -> bytes:
    return b"X" + len(content).to_bytes(4, "little") + content


TRICKS = {
    "escapes": b"S'o\\x73'\nS'system'\n\x93" + CALL,
    "escapes of unicode": b"Vo\\u0073\nVsystem\n\x93" + CALL,
    "texts of old kinds": b"U\x02osU\x06system\x93" + CALL,
    "hexadecimal": b"I0x10\n0" + IMPORT + CALL,
    "octal": b"I010\n0" + IMPORT + CALL,
    "underscore": b"L1_0L\n0" + IMPORT + CALL,
    "number after which C stops": b"I1\0abc\n0" + IMPORT + CALL,
    "float after which C stops": b"F1.0\0abc\n0" + IMPORT + CALL,
    "place after which C stops": IMPORT + b"p1\0x\n0g1\n" + CALL,
    "name longer than looked at": b"\x80\x04"
    + _text(b"os")
    + _text(b"path.os." * 300 + b"system")
    + b"\x93"
    + CALL,
    "long line of a name": b"\x80\x04cos\n" + b"path.os." * 3000 + b"system\n" + CALL,
    "long text": b"S'" + b"x" * 50_000 + b"'\n0" + IMPORT + CALL,
    "long unicode": b"V" + b"x" * 50_000 + b"\n0" + IMPORT + CALL,
    "long number": b"I" + b"0" * 50_000 + b"\n0" + IMPORT + CALL,
    "long float": b"F0." + b"0" * 50_000 + b"\n0" + IMPORT + CALL,
    "many steps": b"N0" * 300_000 + IMPORT + CALL,
}


@pytest.mark.parametrize("name", TRICKS)
def test_tricks_are_seen_through(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(os, "system", ran.append)
    pickle.loads(TRICKS[name])
    assert ran == ["true"]
    landed = landing.inspect_bytes(TRICKS[name])
    assert landed.danger and not landed.known


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("ran",)


def _xz_alone(content: bytes) -> bytes:
    return lzma.compress(content, lzma.FORMAT_ALONE)


def _zip(content: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model", content)
    return made.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": _xz_alone,
    "lz4": lz4.frame.compress,
    "zip": _zip,
}
EVIL, NOISE = pickle.dumps(Evil()), random.Random(1).randbytes(300_000)


@pytest.mark.parametrize("packer", PACKERS)
def test_compressed_pickles_are_found(packer: str) -> None:
    pack = PACKERS[packer]
    for content in (EVIL, pickle.dumps([NOISE, Evil()]), pickle.dumps(["x" * 300_000, Evil()], 0)):
        assert landing.inspect_bytes(pack(content)).danger
    for content in (b"", b"The quick brown fox\n" * 10_000, NOISE):
        assert landing.inspect_bytes(pack(content)).danger == ""
        assert landing.inspect_bytes(pack(content)[:-9]).danger == ""  # cut off
    assert landing.inspect_bytes(pack(pickle.dumps([NOISE, 1.5, None]))).danger == ""


@pytest.mark.parametrize("packer", ["gzip", "bz2", "xz"])
def test_parts_one_after_another_are_one_file(packer: str) -> None:
    pack = PACKERS[packer]
    assert landing.inspect_bytes(pack(b"") + pack(EVIL[:2]) + pack(EVIL[2:])).danger


def test_what_goes_on_for_too_long_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle whose dangerous part may lie behind the limit; of others it is not reached."""
    monkeypatch.setattr(packed, "MOST", 100_000)
    assert landing.inspect_bytes(gzip.compress(pickle.dumps([NOISE, Evil()]))).danger
    assert landing.inspect_bytes(gzip.compress(NOISE)).danger == ""


def test_a_bomb_takes_no_memory() -> None:
    bomb = gzip.compress(pickle.dumps([bytes(100 << 20), 1]))
    tracemalloc.start()
    assert landing.inspect_bytes(bomb).danger == ""
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


def test_an_archive_that_cannot_be_read_is_searched_for_names() -> None:
    """PyTorch reads archives with a reader of its own, so one that Python refuses may be fine."""
    broken = _zip(b"x" * 100).replace(b"PK\x05\x06", b"PK\x05\x07")
    assert landing.inspect_bytes(broken).danger == ""
    assert landing.inspect_bytes(broken + b"archive/data.pkl").danger


def test_names_under_which_pandas_unpacks() -> None:
    class Row:
        state, reason, facts = "good", None, None

    assert landing.danger_of("a/table.pkl.zst", Row)
    assert landing.danger_of("table.csv.zst", Row) == ""
