"""The ledger of a run: an append-only, hash-chained, signed JSON Lines file.

One entry is one line: the canonical JSON of a signed object of kind `ledger`,

    {"version": 1, "index": n, "previous": <hash of the entry before>, "kind": "run_opened",
     "time": "2026-01-31T12:00:00Z", "body": {...}, "signer": <hex>, "signature": <hex>}

An entry's hash is the SHA-256 of its line without the newline; the hash of the last entry is the
ledger's **head**. The chain and the signatures show any change inside the file. Its signer alone
can cut a tail or write another history: only the heads that members kept show that
(`compare_heads`; Crosby and Wallach, "Efficient Data Structures for Tamper-Evident Logging", 2009).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llmos.errors import LedgerError, ProtocolError, SignatureError, StorageError
from llmos.provenance.signing import SigningKey, sign, verify
from llmos.records import canonical_json
from llmos.storage import exclusive_lock, fsync_folder, sha256_hex, storage_errors

VERSION = 1
NO_ENTRY = "0" * 64
"""What the first entry names as its previous one; the head of an empty ledger."""

_KIND = re.compile(r"[a-z][a-z0-9_]*")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)
_KEYS = {"version", "index", "previous", "kind", "time", "body", "signer", "signature"}
_SHOWN_PROBLEMS = 20
_BUSY = "another process is writing to {}: let only one coordinator run"


@dataclass(frozen=True)
class Entry:
    """One verified entry; `line` is its bytes without the newline, `hash` their SHA-256."""

    index: int
    kind: str
    time: str
    body: dict[str, Any]
    previous: str
    hash: str
    signer: str
    line: bytes


class Ledger:
    """A ledger that has been read and verified; with a key it can be appended to."""

    def __init__(self, path: Path, entries: list[Entry], key: SigningKey | None) -> None:
        self.path = path
        self.entries = entries
        self._key = key
        self._length = sum(len(entry.line) + 1 for entry in entries)

    @classmethod
    def create(cls, path: Path, key: SigningKey) -> Ledger:
        """Start an empty ledger; raises `StorageError` when `path` exists."""
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.open("xb").close()
            except FileExistsError as error:
                raise StorageError(
                    f"{path} exists and a ledger is never overwritten: open it, or choose "
                    "another folder"
                ) from error
            fsync_folder(path.parent)
        return cls(path, [], key)

    @classmethod
    def open(
        cls, path: Path, key: SigningKey | None = None, *, public: str | None = None
    ) -> Ledger:
        """Read and verify a ledger: for appending when `key` is given, else for reading.

        With `public` its signer must be that key. A last line torn by a crash is ignored, and cut
        off when `key` is given; its `append` never returned. Raises `LedgerError` for anything
        else that is wrong, and leaves the file as it is.
        """
        if key is None:
            return cls(path, _read(path, public)[0], None)
        if not path.exists():
            raise LedgerError(f"there is no ledger at {path}: check the path, or create one")
        if public is not None and public != key.public:
            raise LedgerError(f"the key {key.public[:16]} is not the ledger's: load {public[:16]}")
        with exclusive_lock(path, _BUSY.format(path)):
            entries, torn = _read(path, key.public)
            ledger = cls(path, entries, key)
            if torn:
                with storage_errors(path), path.open("r+b") as file:
                    file.truncate(ledger._length)
                    os.fsync(file.fileno())
        return ledger

    @property
    def head(self) -> str:
        """The hash of the last entry, 64 zeros when there is none."""
        return self.entries[-1].hash if self.entries else NO_ENTRY

    @property
    def lines(self) -> list[bytes]:
        """The entries as they stand in the file, without newlines."""
        return [entry.line for entry in self.entries]

    def append(self, kind: str, body: dict[str, Any], *, time: datetime | None = None) -> Entry:
        """Sign an entry and write it; it is on the disk when the call returns.

        `time` (with its time zone) is now unless given. Raises `StorageError` when the disk is full
        (the file then ends where it ended before, and the ledger can be used on), `LedgerError`
        when the ledger was opened for reading, the entry is malformed, or the file was changed by
        somebody else.
        """
        if self._key is None:
            raise LedgerError(f"{self.path} was opened for reading: open it with the key to append")
        moment = (time or datetime.now(UTC)).astimezone(UTC)
        entry = _make_entry(self._key, len(self.entries), self.head, kind, body, moment)
        if not self.path.exists():
            raise LedgerError(f"{self.path} is gone: restore it from a copy before going on")
        with exclusive_lock(self.path, _BUSY.format(self.path)):
            self._write(entry.line + b"\n")
        self._length += len(entry.line) + 1
        self.entries.append(entry)
        return entry

    def _write(self, data: bytes) -> None:
        with storage_errors(self.path), self.path.open("r+b", buffering=0) as file:
            found = file.seek(0, os.SEEK_END)
            if found != self._length:
                raise LedgerError(
                    f"{self.path} has {found} bytes where {self._length} were left: somebody else "
                    "wrote to it; stop that process and open the ledger again"
                )
            try:
                left = memoryview(data)
                while left:  # an unbuffered write may take a part only
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(self._length)
                os.fsync(file.fileno())
                raise


def _make_entry(
    key: SigningKey, index: int, previous: str, kind: str, body: dict[str, Any], moment: datetime
) -> Entry:
    content = {
        "version": VERSION,
        "index": index,
        "previous": previous,
        "kind": kind,
        "time": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "body": body,
    }
    try:
        line = canonical_json(sign(key, "ledger", content))
    except ProtocolError as error:
        raise LedgerError(f"entry {index} ({kind}) cannot be written: {error}") from error
    return parse_entry(line, index, previous, key.public)


def parse_entry(
    line: bytes, expected_index: int, expected_previous: str, public: str | None
) -> Entry:
    """Verify one entry: form, place in the chain, signature (by `public` where it is given).

    `line` has no newline at its end. Raises `LedgerError` saying what is wrong and what to do.
    """

    def wrong(what: str) -> LedgerError:
        return LedgerError(f"entry {expected_index} {what}: compare it with another member's copy")

    try:
        content = json.loads(line)
        is_canonical = canonical_json(content) == line
    except (ValueError, RecursionError, ProtocolError) as error:
        raise wrong("is not canonical JSON") from error
    if not isinstance(content, dict):
        raise wrong("is not a JSON object")
    version = content.get("version")
    if type(version) is int and version != VERSION:
        raise LedgerError(
            f"entry {expected_index} has version {version}, this llmos reads version {VERSION}: "
            "install a newer llmos"
        )
    if not is_canonical:
        raise wrong("is not in canonical form (RFC 8785)")
    if content.keys() != _KEYS:
        odd = ", ".join(sorted(content.keys() ^ _KEYS))[:80]
        raise wrong(f"has missing or unknown keys ({odd})")
    kind, time, body = content["kind"], content["time"], content["body"]
    if type(version) is not int or not isinstance(body, dict):
        raise wrong("has a version or a body of the wrong type")
    if not (isinstance(kind, str) and _KIND.fullmatch(kind)):
        raise wrong(f"has kind {str(kind)[:40]!r}, not lower-case letters, digits and underscores")
    if not _is_time(time):
        raise wrong(f"has time {str(time)[:40]!r}, not one like 2026-01-31T12:00:00Z")
    if type(content["index"]) is not int or content["index"] != expected_index:
        raise wrong(f"says that it is entry {str(content['index'])[:20]} (moved or repeated)")
    if content["previous"] != expected_previous:
        raise wrong("does not follow the entry before it (that one was changed, or one is missing)")
    try:
        verify("ledger", content, public)
    except SignatureError as error:
        raise wrong(f"is not signed as it must be ({error})") from error
    return Entry(
        index=expected_index,
        kind=kind,
        time=time,
        body=body,
        previous=expected_previous,
        hash=sha256_hex(line),
        signer=content["signer"],
        line=line,
    )


def _is_time(value: object) -> bool:
    if not (isinstance(value, str) and _TIME.fullmatch(value)):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _read(path: Path, public: str | None) -> tuple[list[Entry], int]:
    entries, problems, torn = _check(path, public)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise LedgerError(f"{path}: {problems[0]}{more}")
    return entries, torn


def check_ledger(path: Path, public: str | None = None) -> tuple[list[Entry], list[str]]:
    """The entries up to the first break, and every problem found, without raising.

    With `public` the signer must be that key, else the signer of the first entry. Lines after a
    break are checked too, each against the line before it. A torn last line is named as well.
    """
    return _reported(*_check(path, public))


def check_ledger_bytes(data: bytes, public: str | None = None) -> tuple[list[Entry], list[str]]:
    """As `check_ledger`, of a ledger that was sent."""
    return _reported(*_check_bytes(data, public))


def _reported(
    entries: list[Entry], problems: list[str], torn: int
) -> tuple[list[Entry], list[str]]:
    if torn:
        problems.append(
            f"line {torn}: the file ends inside this line, as after a crash: the entries before it "
            "stand; open the ledger for appending to cut it off"
        )
    if len(problems) > _SHOWN_PROBLEMS:
        more = len(problems) - _SHOWN_PROBLEMS
        problems = [*problems[:_SHOWN_PROBLEMS], f"and {more} more problems"]
    return entries, problems


def _check(path: Path, public: str | None) -> tuple[list[Entry], list[str], int]:
    """Entries up to the first break, problems, and the number of a torn last line (0 if none)."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        return [], [f"cannot read the ledger {path}: {reason}: check the path"], 0
    return _check_bytes(data, public)


def _check_bytes(data: bytes, public: str | None) -> tuple[list[Entry], list[str], int]:
    *lines, tail = data.split(b"\n")
    entries: list[Entry] = []
    problems: list[str] = []
    previous = NO_ENTRY
    for index, line in enumerate(lines):
        try:
            entry = parse_entry(line, index, previous, public)
            if not problems:
                entries.append(entry)
            public = public or entry.signer
        except LedgerError as error:
            problems.append(f"line {index + 1}: {error}")
        previous = sha256_hex(line)
    if not tail:
        return entries, problems, 0
    if _is_whole(tail[:-1], len(lines), previous, public):
        problems.append(
            f"line {len(lines) + 1}: a whole entry ends in byte {tail[-1]} instead of a newline: "
            "restore the file from a copy"
        )
        return entries, problems, 0
    return entries, problems, len(lines) + 1


def _is_whole(line: bytes, index: int, previous: str, public: str | None) -> bool:
    try:
        parse_entry(line, index, previous, public)
    except LedgerError:
        return False
    return True


def compare_heads(ledger_entries: Sequence[Entry], own_hashes: Sequence[str]) -> str | None:
    """The first difference between a ledger and the hashes that a member kept, or None.

    `own_hashes[i]` is the hash of entry i as the member saw it. The ledger may be longer.
    """
    for entry, own in zip(ledger_entries, own_hashes, strict=False):
        if entry.hash != own:
            return (
                f"entry {entry.index} differs from the head you kept: the ledger was rewritten "
                "from there on; compare it with other members' copies"
            )
    if len(ledger_entries) >= len(own_hashes):
        return None
    end = f"ends at entry {ledger_entries[-1].index}" if ledger_entries else "is empty"
    return (
        f"the ledger {end} but you have seen entry {len(own_hashes) - 1}: a tail was removed; "
        "compare it with other members' copies"
    )
