"""What is noted about each document of a chunk, so that duplicates are found without its text.

Three files a chunk, of little-endian records in the order of the documents:

    NNNNN.exact   the 128-bit hash of each document
    NNNNN.near    of each text with shingles: its number, its bands
    NNNNN.lines   the hashes of its lines, each with the number of its document

Records of several parts (pairs, questions on one context, chats) are compared exactly only: their
parts recur by right.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from llmos.data.dedup.grouping import Records
from llmos.data.dedup.lines import line_hashes
from llmos.data.dedup.minhash import BANDS, BATCH, bands
from llmos.data.documents import Document
from llmos.errors import StorageError
from llmos.storage import write_atomic

EXACT = np.dtype([("high", "<u8"), ("low", "<u8")])
NEAR = np.dtype([("number", "<u4"), ("bands", "<u8", (BANDS,))])
LINES = np.dtype([("line", "<u8"), ("number", "<u4")])


class FingerprintWriter:
    """Notes the documents of one chunk; the files appear, whole, at `close`."""

    def __init__(self, folder: Path, chunk: int, *, near: bool, lines: bool) -> None:
        self._folder = folder
        self._chunk = chunk
        self._near = near
        self._lines = lines
        self._digests: list[bytes] = []
        self._waiting: list[tuple[int, str]] = []
        self._waiting_characters = 0
        self._near_records: list[Records] = []
        self._line_records: list[Records] = []

    def add(self, document: Document) -> None:
        """Note the next document; documents are numbered 0, 1, ... in the order added."""
        content = document.content.encode("utf-8", "surrogatepass")
        self._digests.append(hashlib.blake2b(content, digest_size=EXACT.itemsize).digest())
        if not document.fields:
            self._waiting.append((len(self._digests) - 1, document.text))
            self._waiting_characters += len(document.text) + 1
            if self._waiting_characters >= BATCH:
                self._flush()

    def close(self) -> None:
        """Write what was noted. Raises `StorageError` when it cannot be written."""
        self._flush()
        kinds = {
            "exact": b"".join(self._digests),
            "near": _joined(self._near_records, NEAR) if self._near else None,
            "lines": _joined(self._line_records, LINES) if self._lines else None,
        }
        for kind, data in kinds.items():
            if data is not None:
                write_atomic(_path(self._folder, self._chunk, kind), data)

    def _flush(self) -> None:
        numbers = np.array([number for number, _ in self._waiting], np.uint32)
        texts = [text for _, text in self._waiting]
        self._waiting = []
        self._waiting_characters = 0
        if self._near:
            which, found = bands(texts)
            near = np.empty(len(which), NEAR)
            near["number"] = numbers[which]
            near["bands"] = found
            self._near_records.append(near)
        if self._lines:
            hashes = [line_hashes(text) for text in texts]
            lines = np.empty(sum(map(len, hashes)), LINES)
            lines["line"] = np.concatenate([np.empty(0, np.uint64), *hashes])
            lines["number"] = np.repeat(numbers, [len(found) for found in hashes])
            self._line_records.append(lines)


def read_fingerprints(folder: Path, chunk: int, dtype: np.dtype[Any]) -> Records:
    """The records of one of the three kinds (`EXACT`, `NEAR`, `LINES`) of a chunk.

    Raises `StorageError` when the chunk has none or a part of a record.
    """
    path = _path(folder, chunk, _KINDS[dtype])
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"cannot read the fingerprints {path} ({error.strerror}): clean this chunk again"
        ) from error
    if len(data) % dtype.itemsize:
        raise StorageError(f"{path} ends within a record: delete it and clean this chunk again")
    return np.frombuffer(data, dtype)


def count_fingerprints(folder: Path, chunks: int, dtype: np.dtype[Any]) -> int:
    """How many records of a kind all chunks have; missing files count as empty."""
    paths = (_path(folder, chunk, _KINDS[dtype]) for chunk in range(chunks))
    return sum(path.stat().st_size for path in paths if path.exists()) // dtype.itemsize


_KINDS = {EXACT: "exact", NEAR: "near", LINES: "lines"}


def _path(folder: Path, chunk: int, kind: str) -> Path:
    return folder / f"{chunk:05d}.{kind}"


def _joined(records: list[Records], dtype: np.dtype[Any]) -> bytes:
    return np.concatenate([np.empty(0, dtype), *records]).tobytes()
