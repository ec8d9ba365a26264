"""Records: canonical JSON for what is signed or hashed, and JSON Lines for logs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import rfc8785

from llmos.errors import ProtocolError
from llmos.storage import storage_errors

JSON = dict[str, Any]


def canonical_json(value: Any) -> bytes:
    """The RFC 8785 form of `value`: one byte string for one meaning, so that it can be signed.

    Raises `ProtocolError` for what that form excludes (NaN, infinities, integers over 2^53).
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, ValueError, TypeError) as error:
        raise ProtocolError(f"cannot be written as canonical JSON: {error}") from error


def append_jsonl(path: Path, record: JSON, *, durable: bool = False) -> None:
    """Append one record as one line; with `durable` it is on the disk when the call returns.

    A last line torn by a crash or a full disk is ended first, so that it cannot spoil this one.
    """
    line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = b"\n" + line
            file.write(line)
            if durable:
                file.flush()
                os.fsync(file.fileno())


def read_jsonl(path: Path) -> Iterator[JSON]:
    """The records of a log; lines torn by a crash are left out. Empty if there is no file."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                continue
            with suppress(ValueError):
                yield json.loads(line)
