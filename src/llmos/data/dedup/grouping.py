"""Equal keys among more records than fit in memory: spread over files by key, sorted in each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmos.data.dedup.hashing import Hashes, Places
from llmos.storage import storage_errors

Records = npt.NDArray[Any]

_SHARE = 6
"""A file of records takes up to so many times its size while it is sorted: the keys, their order
and what is gathered by it come on top of the records."""


class Partition:
    """Records of one type spread over numbered files, in the order they were added."""

    def __init__(self, folder: Path, dtype: np.dtype[Any], count: int) -> None:
        self.dtype = dtype
        self.count = count
        self._folder = folder
        with storage_errors(folder):
            folder.mkdir(parents=True)

    def add(self, records: Records, places: Places) -> None:
        """Append each record to the file of its place, 0 to count - 1."""
        order = np.argsort(places, kind="stable")
        bounds = np.searchsorted(places[order], np.arange(self.count + 1))
        # Few of a thousand files get something where few duplicates were found.
        for place in np.flatnonzero(np.diff(bounds)).tolist():
            with storage_errors(self._path(place)), self._path(place).open("ab") as file:
                file.write(records[order[bounds[place] : bounds[place + 1]]].tobytes())

    def read(self, place: int) -> Records:
        """All records of one file."""
        return np.concatenate([np.empty(0, self.dtype), *self.blocks(place, -1)])

    def blocks(self, place: int, records: int) -> Iterator[Records]:
        """The records of one file, so many at a time; -1: all at once."""
        path = self._path(place)
        if not path.exists():
            return
        with path.open("rb") as file:
            while len(block := np.fromfile(file, self.dtype, records)):
                yield block

    def delete(self) -> None:
        """Delete all files."""
        shutil.rmtree(self._folder)

    def _path(self, place: int) -> Path:
        return self._folder / f"{place:05d}"


class Buckets(Partition):
    """Records spread by a hash over as many files as it takes to sort each in `memory` bytes."""

    def __init__(self, folder: Path, dtype: np.dtype[Any], records: int, memory: int) -> None:
        self.records_at_once = max(1, memory // _SHARE // dtype.itemsize)
        super().__init__(folder, dtype, -(-records // self.records_at_once) or 1)

    def spread(self, records: Records, hashes: Hashes) -> None:
        """Append records to the files that their hashes say; equal hashes, one file."""
        places = (hashes >> np.uint64(32)) * np.uint64(self.count) >> np.uint64(32)
        self.add(records, places.astype(np.int64))

    def __iter__(self) -> Iterator[Records]:
        for place in range(self.count):
            if len(records := self.read(place)):
                yield records


def first_equal(*keys: npt.NDArray[np.unsignedinteger]) -> Places:
    """For each record the place of the first one whose keys are all equal to its own."""
    order = np.argsort(keys[0]) if len(keys) == 1 else np.lexsort(keys)
    first = np.empty(len(order), np.int64)
    if len(order):
        starts = starts_of_runs(*(key[order] for key in keys))
        sizes = np.diff(starts, append=len(order))
        first[order] = np.repeat(np.minimum.reduceat(order, starts), sizes)
    return first


def starts_of_runs(*keys: npt.NDArray[np.unsignedinteger]) -> Places:
    """Where each run of records with equal keys begins, in sorted records; there must be some."""
    new = np.ones(len(keys[0]), np.bool_)
    new[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return np.flatnonzero(new)
