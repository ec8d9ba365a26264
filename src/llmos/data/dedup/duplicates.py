"""Which documents and lines of all chunks are to go, and taking them out.

Of equal documents, of near-duplicates, and of documents with a line in common, the first stays: the
one of the lowest chunk, within it of the lowest number. Near-duplicates are looked for among what
is left of the exact ones, lines among what is left of both.

Memory holds the fingerprints of one chunk and `memory` bytes, whatever the number of chunks. Within
a chunk repeats are told first, so that what comes together in one file are at most as many records
of one hash as there are chunks.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from llmos.data.dedup.clusters import PAIR, Pairs
from llmos.data.dedup.fingerprints import (
    EXACT,
    LINES,
    NEAR,
    count_fingerprints,
    read_fingerprints,
)
from llmos.data.dedup.grouping import Buckets, Partition, Records, first_equal
from llmos.data.dedup.hashing import Hashes
from llmos.data.dedup.lines import without_lines
from llmos.data.dedup.minhash import BANDS
from llmos.data.documents import Document
from llmos.data.steps.step import Drop
from llmos.errors import StorageError
from llmos.storage import write_atomic

_REASONS = ("", "duplicate_exact", "duplicate_near", "duplicate_lines")
_KEPT, _EXACT, _NEAR, _NO_LINES = range(len(_REASONS))

# A document is (chunk << 32 | number), so that the order of documents is that of these numbers.
_DOCUMENT = np.dtype([("document", "<u8")])
_DIGEST = np.dtype([*EXACT.descr, ("document", "<u8")])
_BAND = np.dtype([("band", "<u8"), ("document", "<u8")])
_LINE = np.dtype([("line", "<u8"), ("document", "<u8"), ("documents", "<u4")])
_REMOVED_LINE = np.dtype([("line", "<u8"), ("first", "<u8")])
_DOCUMENTS_SUFFIX, _LINES_SUFFIX = "drops", "lines"


@dataclass(frozen=True)
class DuplicateCounts:
    """What was found in all chunks."""

    documents: int
    """Looked at."""
    exact: int
    """Documents equal to an earlier one."""
    near: int
    """Documents in a cluster of near-duplicates, but the first of it."""
    lines: int
    """Lines to take out: different ones of a document, summed over the documents."""
    line_documents: int
    """Documents that lose a line."""


def find_duplicates(
    folder: Path,
    chunks: int,
    out: Path,
    *,
    near: bool,
    line_documents: int,
    memory: int = 512 << 20,
) -> DuplicateCounts:
    """Tell from the fingerprints in `folder` what is to go, for each chunk into files in `out`.

    Lines are looked for if `line_documents` is at least 1. `memory` in bytes. When it was killed,
    call it again: the same files come out. Needs space on the disk of `out`, about 300 bytes a
    document for near-duplicates and 20 bytes a line, which is free again in the end.
    Raises `StorageError` when fingerprints are missing or the disk is full.
    """
    work = out / ".work"
    if work.exists():
        shutil.rmtree(work)
    search = _Search(folder, chunks, work, memory)
    search.exact()
    if near:
        search.near()
    if line_documents > 0:
        search.lines(line_documents)
    counts = search.write(out)
    shutil.rmtree(work)
    return counts


class _Search:
    """The stages of `find_duplicates`, and what each has found by chunk."""

    def __init__(self, folder: Path, chunks: int, work: Path, memory: int) -> None:
        self._folder = folder
        self._chunks = chunks
        self._work = work
        self._memory = memory
        self._drops = {
            reason: Partition(work / _REASONS[reason], _DOCUMENT, chunks)
            for reason in (_EXACT, _NEAR)
        }
        self._removed_lines = Partition(work / "removed", _REMOVED_LINE, chunks)

    def exact(self) -> None:
        """Find documents equal to an earlier one."""
        total = count_fingerprints(self._folder, self._chunks, EXACT)
        buckets = Buckets(self._work / "digests", _DIGEST, total, self._memory)
        for chunk in range(self._chunks):
            prints = read_fingerprints(self._folder, chunk, EXACT)
            records = np.empty(len(prints), _DIGEST)
            records["high"], records["low"] = prints["high"], prints["low"]
            records["document"] = _documents(chunk, np.arange(len(prints)))
            firsts = self._keep_first_digests(records)
            buckets.spread(firsts, firsts["high"])
        for records in buckets:
            self._keep_first_digests(records)
        buckets.delete()

    def _keep_first_digests(self, records: Records) -> Records:
        repeats = first_equal(records["low"], records["high"]) != np.arange(len(records))
        self._drop(_EXACT, records["document"][repeats])
        firsts: Records = records[~repeats]
        return firsts

    def near(self) -> None:
        """Find documents that share a band, directly or through others, with an earlier one."""
        most = BANDS * count_fingerprints(self._folder, self._chunks, NEAR)
        pairs = Pairs(self._work / "pairs", most, self._memory)
        buckets = Buckets(self._work / "bands", _BAND, most, self._memory)
        for chunk in range(self._chunks):
            prints = read_fingerprints(self._folder, chunk, NEAR)
            prints = prints[self._left(chunk, prints["number"])]
            repeats = []
            for place in range(BANDS):
                records = np.empty(len(prints), _BAND)
                records["band"] = prints["bands"][:, place]
                records["document"] = _documents(chunk, prints["number"])
                firsts, found = _firsts_of_bands(records)
                buckets.spread(firsts, firsts["band"])
                repeats.append(found)
            pairs.add(np.concatenate(repeats))  # most pairs share several bands: added once
        for records in buckets:
            pairs.add(_firsts_of_bands(records)[1])
        buckets.delete()
        for later in pairs.later():
            self._drop(_NEAR, later)

    def lines(self, least: int) -> None:
        """Find the lines that stand in at least so many documents."""
        total = count_fingerprints(self._folder, self._chunks, LINES)
        buckets = Buckets(self._work / "lines", _LINE, total, self._memory)
        for chunk in range(self._chunks):
            prints = read_fingerprints(self._folder, chunk, LINES)
            prints = prints[self._left(chunk, prints["number"])]
            first = first_equal(prints["line"])
            places = np.unique(first)
            records = np.empty(len(places), _LINE)
            records["line"] = prints["line"][places]
            records["document"] = _documents(chunk, prints["number"][places])
            records["documents"] = np.bincount(first)[places]
            buckets.spread(records, records["line"])
        for records in buckets:
            first = first_equal(records["line"])
            # The sums are of whole numbers far below 2^53, and so exact.
            total_documents = np.bincount(first, weights=records["documents"])[first]
            others = (records["documents"] > 1) | (first != np.arange(len(records)))
            found = (total_documents >= least) & others
            removed = np.empty(int(found.sum()), _REMOVED_LINE)
            removed["line"] = records["line"][found]
            removed["first"] = records["document"][first[found]]
            self._removed_lines.add(removed, _chunk_of(records["document"][found]))
        buckets.delete()

    def write(self, out: Path) -> DuplicateCounts:
        """Write what each chunk loses."""
        counts = DuplicateCounts(0, 0, 0, 0, 0)
        for chunk in range(self._chunks):
            reasons = np.zeros(len(read_fingerprints(self._folder, chunk, EXACT)), np.uint8)
            for reason, drops in self._drops.items():
                reasons[_number_of(drops.read(chunk)["document"])] = reason
            lines = self._lines_of(chunk)
            write_atomic(_path(out, chunk, _DOCUMENTS_SUFFIX), reasons.tobytes())
            write_atomic(_path(out, chunk, _LINES_SUFFIX), lines.tobytes())
            counts = replace(
                counts,
                documents=counts.documents + len(reasons),
                exact=counts.exact + int((reasons == _EXACT).sum()),
                near=counts.near + int((reasons == _NEAR).sum()),
                lines=counts.lines + len(lines),
                line_documents=counts.line_documents + len(np.unique(lines["number"])),
            )
        return counts

    def _lines_of(self, chunk: int) -> Records:
        """The lines that a chunk loses, in the order of its documents."""
        removed = np.sort(self._removed_lines.read(chunk), order="line")
        if not len(removed):
            return np.empty(0, LINES)
        prints = read_fingerprints(self._folder, chunk, LINES)
        prints = prints[self._left(chunk, prints["number"])]
        place = np.searchsorted(removed["line"], prints["line"]).clip(max=len(removed) - 1)
        goes = (removed["line"][place] == prints["line"]) & (
            removed["first"][place] != _documents(chunk, prints["number"])
        )
        lines: Records = prints[goes]
        return lines

    def _left(self, chunk: int, numbers: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
        """Which of these documents of a chunk have not been found to go."""
        gone = [_number_of(drops.read(chunk)["document"]) for drops in self._drops.values()]
        return ~np.isin(numbers, np.concatenate(gone))

    def _drop(self, reason: int, documents: Hashes) -> None:
        records = np.empty(len(documents), _DOCUMENT)
        records["document"] = documents
        self._drops[reason].add(records, _chunk_of(documents))


class Removals:
    """What one chunk loses, as `find_duplicates` wrote it."""

    def __init__(self, out: Path, chunk: int) -> None:
        """Raises `StorageError` when the files of the chunk are missing."""
        self._path = _path(out, chunk, _DOCUMENTS_SUFFIX)
        try:
            self._reasons = self._path.read_bytes()
            lines = np.frombuffer(_path(out, chunk, _LINES_SUFFIX).read_bytes(), LINES)
        except OSError as error:
            raise StorageError(
                f"cannot read {error.filename} ({error.strerror}): look for duplicates again"
            ) from error
        numbers, starts, counts = np.unique(lines["number"], return_index=True, return_counts=True)
        ends = starts + counts
        self._lines = lines["line"]
        self._ranges = {
            number: slice(start, end)
            for number, start, end in zip(
                numbers.tolist(), starts.tolist(), ends.tolist(), strict=True
            )
        }

    def of(self, number: int, document: Document) -> Document | Drop:
        """The document `number` of the chunk without lines that go, or why all of it goes.

        Raises `StorageError` when there was no such document.
        """
        if number >= len(self._reasons):
            raise StorageError(
                f"{self._path} tells of {len(self._reasons)} documents, not of number {number}: "
                "look for duplicates again"
            )
        reason = self._reasons[number]
        if reason != _KEPT:
            return Drop(_REASONS[reason])
        if number not in self._ranges:
            return document
        gone = set(self._lines[self._ranges[number]].tolist())
        text = without_lines(document.text, gone)
        return replace(document, text=text) if text.strip() else Drop(_REASONS[_NO_LINES])


def _firsts_of_bands(records: Records) -> tuple[Records, Records]:
    """The first record of each band, and the documents of the others, paired with the first's."""
    first = first_equal(records["band"])
    repeats = first != np.arange(len(records))
    pairs = np.empty(int(repeats.sum()), PAIR)
    pairs["document"] = records["document"][repeats]
    pairs["other"] = records["document"][first[repeats]]
    return records[~repeats], pairs


def _documents(chunk: int, numbers: npt.NDArray[np.integer]) -> Hashes:
    return numbers.astype(np.uint64) | np.uint64(chunk << 32)


def _chunk_of(documents: Hashes) -> npt.NDArray[np.int64]:
    return (documents >> np.uint64(32)).astype(np.int64)


def _number_of(documents: Hashes) -> npt.NDArray[np.int64]:
    return (documents & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _path(out: Path, chunk: int, suffix: str) -> Path:
    return out / f"{chunk:05d}.{suffix}"
