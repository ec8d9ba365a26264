from __future__ import annotations

import fcntl
import hashlib
import json
import resource
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmos.errors import LedgerError, StorageError
from llmos.provenance.ledger import (
    NO_ENTRY,
    Ledger,
    check_ledger,
    compare_heads,
    parse_entry,
)
from llmos.provenance.signing import SigningKey, generate_key, sign
from llmos.records import canonical_json

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
BODIES: list[dict[str, Any]] = [
    {"run": "r"},
    {"members": ["a", "ü"]},
    {"round": 1, "loss": 2.5},
    {},
]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[SigningKey, SigningKey]:
    folder = tmp_path_factory.mktemp("keys")
    return generate_key(folder / "a"), generate_key(folder / "b")


@pytest.fixture(scope="module")
def key(keys: tuple[SigningKey, SigningKey]) -> SigningKey:
    return keys[0]


def make(path: Path, key: SigningKey, bodies: list[dict[str, Any]]) -> Ledger:
    ledger = Ledger.create(path, key)
    for body in bodies:
        ledger.append("round_merged", body, time=NOON)
    return ledger


@pytest.fixture(scope="module")
def sample(key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return make(tmp_path_factory.mktemp("ledger") / "ledger.jsonl", key, BODIES)


def test_the_file_is_canonical_signed_and_chained(sample: Ledger, key: SigningKey) -> None:
    lines = sample.path.read_bytes().split(b"\n")
    assert lines.pop() == b"" and lines == sample.lines
    previous = "0" * 64
    for index, (line, entry) in enumerate(zip(lines, sample.entries, strict=True)):
        content = json.loads(line)
        assert canonical_json(content) == line
        assert (content["version"], content["index"], content["previous"]) == (1, index, previous)
        assert content["time"] == "2026-01-31T12:00:00Z" == entry.time
        assert content["body"] == BODIES[index] == entry.body
        assert content["signer"] == key.public == entry.signer
        previous = hashlib.sha256(line).hexdigest()
        assert entry.hash == previous
    assert sample.head == previous
    with pytest.raises(FrozenInstanceError):
        sample.entries[0].index = 3  # type: ignore[misc]


def test_open_gives_what_was_appended_and_goes_on(tmp_path: Path, key: SigningKey) -> None:
    made = make(tmp_path / "l", key, BODIES)
    reader = Ledger.open(tmp_path / "l", public=key.public)
    assert reader.entries == made.entries and reader.head == made.head
    with pytest.raises(LedgerError, match="for reading"):
        reader.append("x", {})
    writer = Ledger.open(tmp_path / "l", key)
    entry = writer.append("run_closed", {"ok": True})
    assert entry.index == len(BODIES) and entry.previous == made.head
    assert Ledger.open(tmp_path / "l").entries == [*made.entries, entry]


def test_times_are_utc_seconds(tmp_path: Path, key: SigningKey) -> None:
    ledger = make(tmp_path / "l", key, [])
    zone = timezone(timedelta(hours=2))
    assert ledger.append("x", {}, time=datetime(2026, 1, 1, 1, 2, 3, 999, zone)).time == (
        "2025-12-31T23:02:03Z"
    )
    now = datetime.fromisoformat(ledger.append("x", {}).time)
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=5)


def test_an_empty_ledger(tmp_path: Path, key: SigningKey) -> None:
    ledger = Ledger.create(tmp_path / "new" / "l", key)
    assert ledger.head == NO_ENTRY and ledger.entries == [] and ledger.lines == []
    assert check_ledger(ledger.path) == ([], [])
    with pytest.raises(StorageError, match="never overwritten"):
        Ledger.create(ledger.path, key)


def test_a_ledger_has_one_signer(tmp_path: Path, keys: tuple[SigningKey, SigningKey]) -> None:
    key, other = keys
    ledger = make(tmp_path / "l", key, BODIES)
    for arguments in ({"key": other}, {"public": other.public}):
        with pytest.raises(LedgerError, match="line 1: entry 0 .*" + key.public[:16]):
            Ledger.open(ledger.path, **arguments)
    with pytest.raises(LedgerError, match="is not the ledger's"):
        Ledger.open(ledger.path, key, public=other.public)
    foreign = make(tmp_path / "m", key, BODIES)
    foreign._key = other
    foreign.append("x", {})
    with pytest.raises(LedgerError, match=r"line 5: entry 4 .* instead of"):
        Ledger.open(foreign.path)


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], Path]:
    path = tmp_path_factory.mktemp("scratch") / "ledger.jsonl"

    def write(data: bytes) -> Path:
        path.write_bytes(data)
        return path

    return write


@settings(max_examples=300, deadline=None)
@given(st.data(), st.integers(1, 255))
def test_any_flipped_byte_is_found(
    tmp_path_factory: pytest.TempPathFactory, sample: Ledger, key: SigningKey, data: Any, flip: int
) -> None:
    good = sample.path.read_bytes()
    position = data.draw(st.integers(0, len(good) - 1) | st.just(len(good) - 1))
    check_flip(tmp_path_factory, good, key, position, flip)


def check_flip(
    folders: pytest.TempPathFactory, good: bytes, key: SigningKey, position: int, flip: int
) -> None:
    path = folders.getbasetemp() / "flipped"
    damaged = bytearray(good)
    damaged[position] ^= flip
    path.write_bytes(damaged)
    for writing in (None, key):
        with pytest.raises(LedgerError, match=r"line [1-5]:"):
            Ledger.open(path, writing)
        assert path.read_bytes() == damaged  # a damaged file is left as evidence
    entries, problems = check_ledger(path)
    assert problems and len(entries) <= good[:position].count(b"\n")


def test_flips_to_and_from_newlines_are_found(
    tmp_path_factory: pytest.TempPathFactory, sample: Ledger, key: SigningKey
) -> None:
    good = sample.path.read_bytes()
    start = good.rindex(b"\n", 0, -1) + 1
    for position in [*range(start, len(good) - 1, 7), start, len(good) - 2]:
        check_flip(tmp_path_factory, good, key, position, good[position] ^ 10)
    for position in [i for i, byte in enumerate(good) if byte == 10]:
        check_flip(tmp_path_factory, good, key, position, 10 ^ ord(" "))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_torn_last_line_is_cut_off_or_ignored(
    tmp_path_factory: pytest.TempPathFactory, sample: Ledger, key: SigningKey, data: Any
) -> None:
    good = sample.path.read_bytes()
    last = good.rindex(b"\n", 0, -1) + 1
    cut = data.draw(st.integers(last + 1, len(good) - 1) | st.just(len(good) - 1))
    path = tmp_path_factory.getbasetemp() / "torn"
    path.write_bytes(good[:cut] + data.draw(st.sampled_from([b"", b"\0" * 3])) * (cut < last + 9))
    torn = path.read_bytes()
    assert Ledger.open(path).entries == sample.entries[:-1] and path.read_bytes() == torn
    entries, problems = check_ledger(path)
    assert entries == sample.entries[:-1] and problems[0].startswith("line 4: the file ends inside")
    writer = Ledger.open(path, key)
    assert path.read_bytes() == good[:last]
    writer.append("round_merged", BODIES[-1], time=NOON)
    assert path.read_bytes() == good  # Ed25519 is deterministic


def resigned(path: Path, key: SigningKey, bodies: list[dict[str, Any]]) -> Ledger:
    path.unlink(missing_ok=True)
    return make(path, key, bodies)


def test_own_heads_show_what_the_file_alone_cannot(
    tmp_path: Path, sample: Ledger, keys: tuple[SigningKey, SigningKey]
) -> None:
    own = [entry.hash for entry in sample.entries]
    assert compare_heads(sample.entries, own) is None
    assert compare_heads(sample.entries, own[:2]) is None
    assert compare_heads(sample.entries, []) is None
    path = tmp_path / "l"

    path.write_bytes(b"\n".join(sample.lines[:2]) + b"\n")
    cut = Ledger.open(path)
    text = compare_heads(cut.entries, own)
    assert text and "ends at entry 1 but you have seen entry 3: a tail was removed" in text
    text = compare_heads([], own)
    assert text and "is empty but you have seen entry 3" in text

    changed = [*BODIES[:2], {"round": 1, "loss": 2.0}, *BODIES[3:]]
    for signer, first in ((keys[0], 2), (keys[1], 0)):
        rewritten = Ledger.open(resigned(path, signer, changed).path)  # verifies by itself
        text = compare_heads(rewritten.entries, own)
        assert text and f"entry {first} differs from the head you kept" in text
        if first == 0:
            with pytest.raises(LedgerError, match="instead of"):
                Ledger.open(path, public=keys[0].public)


@pytest.mark.parametrize(
    ("order", "line"),
    [([0, 1, 1, 2, 3], 3), ([0, 2, 1, 3], 2), ([1, 2, 3], 1), ([0, 1, 3], 3), ([0, 0], 2)],
)
def test_moved_repeated_and_missing_lines_are_found(
    scratch: Callable[[bytes], Path], sample: Ledger, order: list[int], line: int
) -> None:
    path = scratch(b"".join(sample.lines[i] + b"\n" for i in order))
    with pytest.raises(LedgerError, match=f"line {line}: entry {line - 1} says that it is"):
        Ledger.open(path)
    entries, problems = check_ledger(path)
    assert entries == sample.entries[: line - 1] and problems[0].startswith(f"line {line}:")


def test_a_change_in_one_line_is_named_there_and_in_the_chain(
    scratch: Callable[[bytes], Path], sample: Ledger
) -> None:
    lines = sample.lines
    lines[1] = lines[1].replace("ü".encode(), b"ue")
    entries, problems = check_ledger(scratch(b"\n".join(lines) + b"\n"))
    assert entries == sample.entries[:1]
    assert [text[:7] for text in problems] == ["line 2:", "line 3:"]
    assert "does not verify" in problems[0] and "does not follow" in problems[1]


def test_the_same_meaning_in_other_bytes_is_refused(
    scratch: Callable[[bytes], Path], sample: Ledger, key: SigningKey
) -> None:
    first = sample.lines[0]
    content = json.loads(first)
    others = [
        json.dumps(content).encode(), first.replace(b'"index":0', b'"index":0.0'),
        first.replace(b'"index":0', b'"index":-0'), first + b" ", b"\xef\xbb\xbf" + first,
        first.replace(b'"kind"', b'"\\u006bind"'), first.decode().encode("utf-16"),
        first.replace(b'"index":0', b'"index":0,"index":0'), first + b"\r",
    ]  # fmt: skip
    for line in others:
        with pytest.raises(LedgerError, match="canonical"):
            parse_entry(line, 0, NO_ENTRY, key.public)
        with pytest.raises(LedgerError, match="line 1: "):
            Ledger.open(scratch(line + b"\n"))


GOOD: dict[str, Any] = {
    "version": 1, "index": 0, "previous": NO_ENTRY, "kind": "x", "time": "2026-01-31T12:00:00Z",
    "body": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"version": 2, "new": 1}, "version 2.*newer llmos"), ({"version": "1"}, "version"),
        ({"version": True}, "version"), ({"extra": 1}, "extra"), ({"index": 1}, "says that"),
        ({"index": "0"}, "says that"), ({"index": False}, "says that"),
        ({"previous": "1" * 64}, "does not follow"), ({"previous": None}, "does not follow"),
        ({"kind": "Not A Word"}, "kind"), ({"kind": 4}, "kind"), ({"body": []}, "body"),
        ({"time": "2026-01-31T12:00:00+00:00"}, "time"), ({"time": "2026-02-31T12:00:00Z"}, "time"),
        ({"time": 5}, "time"), ({"time": "2026-01-31T12:00:00Z\n"}, "time"),
    ],
)  # fmt: skip
def test_well_signed_nonsense_is_refused(
    key: SigningKey, change: dict[str, Any], match: str
) -> None:
    line = canonical_json(sign(key, "ledger", GOOD | change))
    with pytest.raises(LedgerError, match=match) as caught:
        parse_entry(line, 0, NO_ENTRY, key.public)
    assert "\n" not in str(caught.value)
    assert parse_entry(canonical_json(sign(key, "ledger", GOOD)), 0, NO_ENTRY, None).body == {}


@settings(deadline=None)
@given(st.binary(max_size=80))
@example(b"[" * 50_000)
@example(b'{"a":' * 50_000)
@example(b"1" * 5000)
@example(b"[]")
def test_any_bytes_are_refused_without_a_traceback(line: bytes) -> None:
    with pytest.raises(LedgerError):
        parse_entry(line, 0, NO_ENTRY, None)


def test_a_full_disk_leaves_the_ledger_as_it_was(tmp_path: Path, key: SigningKey) -> None:
    ledger = make(tmp_path / "l", key, BODIES)
    before, head = ledger.path.read_bytes(), ledger.head
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, hard))  # a part still fits
    try:
        with pytest.raises(StorageError, match="no space left"):
            ledger.append("x", {"text": "y" * 1000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ledger.path.read_bytes() == before and ledger.head == head
    ledger.append("x", {"text": "y" * 1000})
    assert len(Ledger.open(ledger.path).entries) == len(BODIES) + 1


def test_two_writers_do_not_mix(tmp_path: Path, key: SigningKey) -> None:
    first = make(tmp_path / "l", key, BODIES)
    second = Ledger.open(first.path, key)
    second.append("x", {})
    after = first.path.read_bytes()
    with pytest.raises(LedgerError, match="somebody else wrote"):
        first.append("y", {})
    assert first.path.read_bytes() == after and len(first.entries) == len(BODIES)
    with first.path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for write in (lambda: second.append("z", {}), lambda: Ledger.open(first.path, key)):
            with pytest.raises(StorageError, match="another process is writing"):
                write()
    second.append("z", {})
    second.path.unlink()
    with pytest.raises(LedgerError, match="is gone"):
        second.append("z", {})
    assert not second.path.exists()


@pytest.mark.parametrize("body", [{"x": float("nan")}, {"x": 2**60}, {"x": b"y"}])
def test_what_cannot_be_written_changes_nothing(
    tmp_path: Path, key: SigningKey, body: dict[str, Any]
) -> None:
    ledger = make(tmp_path / "l", key, BODIES)
    before = ledger.path.read_bytes()
    with pytest.raises(LedgerError, match="entry 4"):
        ledger.append("x", body)
    with pytest.raises(LedgerError, match="kind"):
        ledger.append("Not a word", {})
    assert ledger.path.read_bytes() == before and len(ledger.entries) == 4


def test_an_entry_keeps_its_body_when_the_caller_changes_theirs(
    tmp_path: Path, key: SigningKey
) -> None:
    ledger = make(tmp_path / "l", key, [])
    body = {"members": ["a"]}
    entry = ledger.append("x", body)
    body["members"].append("b")
    assert entry.body == {"members": ["a"]} and Ledger.open(ledger.path).entries == [entry]


def test_a_missing_file_and_many_problems(
    tmp_path: Path, scratch: Callable[[bytes], Path], key: SigningKey
) -> None:
    for writing in (None, key):
        with pytest.raises(LedgerError, match="check the path"):
            Ledger.open(tmp_path / "none", writing)
    assert not (tmp_path / "none").exists()
    with pytest.raises(LedgerError, match="Is a directory"):
        Ledger.open(tmp_path)
    entries, problems = check_ledger(scratch(b"rubbish\n" * 100))
    assert entries == [] and len(problems) == 21 and problems[-1] == "and 80 more problems"
