"""Complete training checkpoints in a folder: atomic, verified by hash, pruned.

    step-00000100-5f0c2a9be1d34c77.safetensors  all arrays (weights, optimizer state, ...)
    step-00000100.jsonl                         line 1: version, step, score, facts, and the size
                                                and sha256 of the arrays; line 2: sha256 of line 1

A checkpoint exists from the moment its `.jsonl` has that name, which is after its arrays are safely
on the disk. The arrays' file is named by its hash, so that a step saved again never overwrites what
the old `.jsonl` stands for. One process writes at a time; who calls holds `storage.exclusive_lock`.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmos.errors import StorageError, UsageError
from llmos.records import JSON
from llmos.storage import (
    require_free_space,
    sha256_file,
    sha256_hex,
    storage_errors,
    write_atomic,
)

VERSION = 1

Array = npt.NDArray[Any]
Warn = Callable[[str], None]

_TYPES = {
    name: np.dtype(code)
    for name, code in (
        *(("F64", "<f8"), ("F32", "<f4"), ("F16", "<f2"), ("BOOL", "?")),
        *(("I64", "<i8"), ("I32", "<i4"), ("I16", "<i2"), ("I8", "i1")),
        *(("U64", "<u8"), ("U32", "<u4"), ("U16", "<u2"), ("U8", "u1")),
    )
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}

# The files of this module, and what `write_atomic` leaves of them when its process is killed.
_FILE = re.compile(
    r"\.?step-(\d{8}|[1-9]\d{8,})(?:-[0-9a-f]{16}\.safetensors|\.jsonl)(\.\d+\.tmp)?"
)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What `Checkpoints.save` was given, in fresh and writable arrays."""

    step: int
    arrays: dict[str, Array]
    facts: JSON
    score: float | None


@dataclass(frozen=True)
class _Manifest:
    """The first line of a `.jsonl`; `size` is in bytes."""

    step: int
    score: float | None
    facts: JSON
    size: int
    sha256: str


class _Unusable(Exception):
    """A checkpoint that cannot be used: the path and the reason."""


class _Newer(_Unusable):
    """A checkpoint of a later format, whole as far as can be seen."""


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr)


class Checkpoints:
    """The checkpoints in `folder`: the last `keep_last`, and the one with the best score.

    Every method raises `StorageError` for a folder that this user may not read or write.
    """

    def __init__(self, folder: Path, *, keep_last: int = 2, keep_best: bool = True) -> None:
        if keep_last < 1:
            raise UsageError(f"keep_last is {keep_last}: keep at least 1 checkpoint")
        self.folder = folder
        self.keep_last = keep_last
        self.keep_best = keep_best

    def save(
        self,
        step: int,
        arrays: Mapping[str, Array],
        facts: JSON,
        *,
        score: float | None = None,
    ) -> Path:
        """Save a checkpoint, then remove those that are no longer kept. Returns its `.jsonl`.

        `arrays` are of any shape, C order or not; `facts` must come back from JSON as they are (no
        tuples, no NaN). `score` is a validation figure, lower is better; one that is not finite
        counts as None. Takes one copy of the arrays in memory.

        A step saved again replaces the one before. Checkpoints of later steps are removed: training
        went back to before them. A crash at any moment leaves the old checkpoints or the new one.
        Raises `UsageError` for what cannot be saved, and `StorageError` for a full disk, with the
        checkpoints before untouched.
        """
        step = int(step)
        if step < 0:
            raise UsageError(f"step is {step}: steps count from 0")
        _require_json(facts)
        pieces = _safetensors(arrays)
        size = sum(piece.nbytes for piece in pieces)
        self._remove_leftovers()
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            require_free_space(self.folder, size, f"the checkpoint of step {step}")
        data = b"".join(pieces)
        if score is not None:
            score = float(score) if math.isfinite(score) else None
        manifest = _Manifest(step, score, facts, size, sha256_hex(data))
        try:
            self._write(manifest, data)
        except StorageError as error:
            free = shutil.disk_usage(self.folder).free
            raise StorageError(
                f"{error} (the checkpoint of step {step} needs {size / 1e6:.1f} MB, "
                f"{free / 1e6:.1f} MB are free)"
            ) from error
        self._prune(step)
        return self._manifest_path(step)

    def latest(self, warn: Warn = _to_stderr) -> Checkpoint | None:
        """The whole checkpoint of the highest step, None if there is none.

        Each that is damaged, or of a newer version of LLMOS, is skipped; `warn` gets one line with
        its path and the reason.
        """
        return self._first_whole(self._manifests(warn), warn)

    def best(self, warn: Warn = _to_stderr) -> Checkpoint | None:
        """The whole checkpoint with the lowest score (the earliest of equals); else as `latest`."""
        scored = [manifest for manifest in self._manifests(warn) if manifest.score is not None]
        return self._first_whole(sorted(scored, key=_by_score), warn)

    # Writing

    def _write(self, manifest: _Manifest, data: bytes) -> None:
        line = json.dumps({"version": VERSION, **vars(manifest)}).encode()
        arrays = self._arrays_path(manifest)
        with storage_errors(arrays):
            # In this order, each on the disk before the next: the `.jsonl` speaks for the arrays.
            try:
                write_atomic(arrays, data)
                write_atomic(self._manifest_path(manifest.step), _sealed(line))
            except BaseException:
                # The same arrays may be there already, and in use.
                if self._current(manifest.step) != manifest.sha256:
                    arrays.unlink(missing_ok=True)
                raise

    def _prune(self, step: int) -> None:
        """Remove all but the last checkpoints up to `step`, the best, and those of a newer LLMOS.

        Arrays cut short or missing do not count as kept; to read all for their hashes would take
        as long as saving.
        """
        whole = [m for m in self._known() if m.step <= step]
        kept = whole[-self.keep_last :]
        scored = [m for m in whole if m.score is not None]
        if self.keep_best and scored:
            kept.append(min(scored, key=_by_score))
        names = {self._manifest_path(m.step).name for m in kept}
        names |= {self._arrays_path(m).name for m in kept}
        self._remove(
            name for name, of in self._files() if name not in names and not self._is_newer(of)
        )

    def _remove_leftovers(self) -> None:
        """Remove what killed writers left: temporary files, and arrays without a `.jsonl`."""
        self._remove(
            name
            for name, step in self._files()
            if name.startswith(".") or not self._manifest_path(step).exists()
        )

    def _remove(self, names: Iterable[str]) -> None:
        with storage_errors(self.folder):
            # In reverse order a `.jsonl` goes before its arrays, so none is left that lacks them.
            for name in sorted(names, reverse=True):
                (self.folder / name).unlink(missing_ok=True)

    # Reading

    def _first_whole(self, manifests: Iterable[_Manifest], warn: Warn) -> Checkpoint | None:
        for manifest in manifests:
            try:
                return self._load(manifest)
            except _Unusable as reason:
                warn(f"skipped the checkpoint of step {manifest.step}: {reason}")
        return None

    def _load(self, manifest: _Manifest) -> Checkpoint:
        path = self._arrays_path(manifest)
        with _read_errors(path):
            size = path.stat().st_size
            if size != manifest.size:
                raise _Unusable(f"{path} has {size} bytes instead of {manifest.size}")
            if sha256_file(path) != manifest.sha256:
                raise _Unusable(f"{path} is damaged: its sha256 is not the recorded one")
            arrays = _read_safetensors(path)
        return Checkpoint(manifest.step, arrays, manifest.facts, manifest.score)

    def _manifests(self, warn: Warn) -> Iterator[_Manifest]:
        """Those that can be read, highest step first."""
        steps = {step for name, step in self._files() if not name.startswith(".")}
        for step in sorted(steps, reverse=True):
            try:
                yield self._manifest(step)
            except _Unusable as reason:
                warn(f"skipped the checkpoint of step {step}: {reason}")

    def _manifest(self, step: int) -> _Manifest:
        path = self._manifest_path(step)
        with _read_errors(path):
            stored = path.read_bytes()
        line = stored.split(b"\n", 1)[0]
        if _sealed(line) != stored:
            raise _Unusable(f"{path} is damaged: its sha256 is not the recorded one")
        fields = json.loads(line)
        version = fields.pop("version")
        if version > VERSION:
            raise _Newer(
                f"{path} is of checkpoint version {version}, this LLMOS reads up to {VERSION}: "
                "update LLMOS to use it"
            )
        return _Manifest(**fields)

    def _current(self, step: int) -> str | None:
        """The sha256 of the arrays that a step has now, None if it has none."""
        try:
            return self._manifest(step).sha256
        except _Unusable:
            return None

    def _is_newer(self, step: int) -> bool:
        try:
            self._manifest(step)
        except _Unusable as reason:
            return isinstance(reason, _Newer)
        return False

    def _known(self) -> Sequence[_Manifest]:
        """Those with all their bytes, lowest step first."""
        known = []
        for manifest in self._manifests(lambda message: None):
            path = self._arrays_path(manifest)
            if path.exists() and path.stat().st_size == manifest.size:
                known.append(manifest)
        return known[::-1]

    # Names

    def _manifest_path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}.jsonl"

    def _arrays_path(self, manifest: _Manifest) -> Path:
        return self.folder / f"step-{manifest.step:08d}-{manifest.sha256[:16]}.safetensors"

    def _files(self) -> Sequence[tuple[str, int]]:
        """Name and step of each file of this class, temporary ones too."""
        try:
            names = sorted(path.name for path in self.folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(
                f"cannot read {self.folder}: {error.strerror}: choose a folder for the checkpoints "
                "that this user may read and write"
            ) from error
        matches = [_FILE.fullmatch(name) for name in names]
        return [(match.group(), int(match.group(1))) for match in matches if match]

    # Last, because the name hides the builtin from the annotations that follow.
    def list(self) -> Sequence[tuple[int, float | None]]:
        """Step and score of each checkpoint that has all its bytes, lowest step first."""
        return [(manifest.step, manifest.score) for manifest in self._known()]


def _by_score(manifest: _Manifest) -> tuple[float, int]:
    assert manifest.score is not None
    return manifest.score, manifest.step


def _sealed(line: bytes) -> bytes:
    """The content of a `.jsonl`, so that any change to it shows."""
    return line + f'\n{{"sha256": "{sha256_hex(line)}"}}\n'.encode()


def _require_json(facts: JSON) -> None:
    try:
        if json.loads(json.dumps(facts, allow_nan=False)) != facts:
            raise ValueError("JSON has no tuples, and only text as keys")
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the facts of a checkpoint must be plain JSON ({error}): {str(facts)[:80]}"
        ) from error


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """A file that cannot be read makes a checkpoint unusable; one that may not be read stops."""
    try:
        yield
    except FileNotFoundError as error:
        raise _Unusable(f"{path} is missing") from error
    except PermissionError as error:
        raise StorageError(
            f"cannot read {path}: {error.strerror}: let this user read it, or choose another folder"
        ) from error
    except OSError as error:
        raise _Unusable(f"cannot read {path}: {error.strerror or error}") from error


# Arrays as safetensors (https://github.com/huggingface/safetensors#format). The library itself
# holds two copies while it saves, and promises neither writable arrays nor their alignment.


def _safetensors(arrays: Mapping[str, Array]) -> Sequence[memoryview]:
    """What stands in a safetensors file: the header, then the arrays, largest items first."""
    header: JSON = {}
    pieces: list[memoryview] = []
    start = 0
    for name in sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name)):
        dtype = arrays[name].dtype.newbyteorder("<")
        if dtype not in _NAMES or name == "__metadata__":
            raise UsageError(
                f"array {name!r} of {dtype} cannot be saved: a checkpoint holds "
                f"{', '.join(str(known) for known in _NAMES)}, under any name but __metadata__"
            )
        # Not ascontiguousarray, which makes one dimension of none.
        array = np.asarray(arrays[name], dtype, order="C")
        end = start + array.nbytes
        header[name] = {
            "dtype": _NAMES[dtype],
            "shape": array.shape,
            "data_offsets": (start, end),
        }
        pieces.append(array.data)
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [memoryview(len(text).to_bytes(8, "little") + text), *pieces]


def _read_safetensors(path: Path) -> dict[str, Array]:
    """The arrays of a file that `_safetensors` described and whose hash was checked."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        return {
            name: np.fromfile(file, _TYPES[entry["dtype"]], math.prod(entry["shape"])).reshape(
                entry["shape"]
            )
            for name, entry in header.items()
        }
