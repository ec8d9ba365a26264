"""What a model answered, kept beside the result: a broken evaluation goes on, and models can be
compared item by item. It stays where it was made; only the result is sent.

RESULT.items/NAME.jsonl has a line for each item (what was answered), RESULT.items/rows.npz what
each item adds to each metric.
"""

from __future__ import annotations

import io
import math
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from llmos.errors import UsageError
from llmos.evaluation.items import Answer
from llmos.metrics.bootstrap import Floats
from llmos.records import append_jsonl, read_jsonl
from llmos.storage import exclusive_lock, sha256_hex, storage_errors, write_atomic

AT_ONCE = 256
"""Items that are asked and kept together."""
ROWS = "rows.npz"


def items_folder(result: Path) -> Path:
    """Where the items of a result file are kept."""
    return result.with_name(f"{result.name.removesuffix('.json')}.items")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder of items: two evaluations would mix their answers.

    Raises `StorageError` where another one holds it.
    """
    busy = f"another evaluation is writing to {folder}: wait for it, or name another --out"
    with exclusive_lock(folder / "lock", busy):
        yield


class Answers:
    """The answers to one benchmark, kept in a file as they come.

    key: hash of all that they depend on; a file of another key is begun anew, and one whose last
    answer is more than `last` seconds old. kept: how many were there already.
    """

    def __init__(self, file: Path, key: str, *, last: float = math.inf) -> None:
        self._file = file
        self.how: list[str] = []
        self.found: list[Answer] = []
        lines = read_jsonl(file)
        if next(lines, None) == {"key": key} and _age(file) <= last:
            with suppress(KeyError, TypeError):
                for line in lines:
                    self.found.append(Answer(line["text"], tuple(line["numbers"])))
                    self._note(line["how"])
        if not self.found:
            with storage_errors(file):
                file.unlink(missing_ok=True)
            append_jsonl(file, {"key": key})
        self.kept = len(self.found)

    def add(self, answers: Sequence[Answer], how: str) -> None:
        """Keep some more."""
        for answer in answers:
            append_jsonl(self._file, {**asdict(answer), "how": how})
        self.found += answers
        self._note(how)

    def _note(self, how: str) -> None:
        if how not in self.how:
            self.how.append(how)


def _age(file: Path) -> float:
    """Seconds since the file was written."""
    with storage_errors(file):
        return max(0.0, time.time() - file.stat().st_mtime)


def rows_sha256(rows: Mapping[str, Floats]) -> str:
    """What stands in a result for the rows of one benchmark, by metric."""
    digests = [f"{name} {sha256_hex(_bytes(rows[name]))}" for name in sorted(rows)]
    return sha256_hex("\n".join(digests).encode())


def _bytes(array: Floats) -> bytes:
    return np.ascontiguousarray(array, "<f8").tobytes()


def write_rows(folder: Path, rows: Mapping[str, Mapping[str, Floats]]) -> None:
    """Keep the rows of each benchmark, by metric."""
    arrays = {f"{part}/{name}": a for part, of in rows.items() for name, a in of.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomic(folder / ROWS, buffer.getvalue())


def read_rows(result: Path) -> dict[str, dict[str, Floats]]:
    """By benchmark and metric. Raises `UsageError` where there are none beside the result."""
    file = items_folder(result) / ROWS
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return _nested(dict(arrays))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{file} cannot be read: models are compared item by item, which only those can do who "
            "have the items; evaluate again, or compare the intervals by llmos leaderboard"
        ) from error


def _nested(arrays: Mapping[str, Floats]) -> dict[str, dict[str, Floats]]:
    found: dict[str, dict[str, Floats]] = {}
    for key, array in arrays.items():
        part, _, name = key.partition("/")
        found.setdefault(part, {})[name] = array
    return found
