"""Clusters: which documents hang together by pairs, where the pairs need not fit in memory.

By alternating small-star and large-star operations (Kiveris, Lattanzi, Mirrokni, Rastogi and
Vassilvitskii, "Connected Components in MapReduce and Beyond", SoCC 2014). Each needs but the
neighbours of one document together, so the pairs are spread over files by document. In the end all
documents of a cluster are paired with its first. Union-find tells the same, but its table grows
with the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from llmos.data.dedup.grouping import Buckets, Records, first_equal, starts_of_runs
from llmos.data.dedup.hashing import Hashes, mix

PAIR = np.dtype([("document", "<u8"), ("other", "<u8")])


class Pairs:
    """Pairs of documents that belong together; tells all but the first of each cluster."""

    def __init__(self, folder: Path, most: int, memory: int) -> None:
        """At most `most` pairs will be added; `memory` in bytes."""
        self._folder = folder
        self._most = most
        self._memory = memory
        self._made = 0
        self._pairs = self._buckets(1)

    def add(self, pairs: Records) -> None:
        """Add pairs of a document and one that comes before it."""
        _spread(self._pairs, pairs["document"], pairs["other"])

    def later(self) -> Iterator[Hashes]:
        """All documents that are not the first of their cluster, in groups."""
        while True:
            both, tangled = self._small_star(self._pairs)
            self._pairs, chained = self._large_star(both)
            if not tangled and not chained:
                break
        for place in range(self._pairs.count):
            yield self._least(self._pairs, place)[0]

    def _small_star(self, pairs: Buckets) -> tuple[Buckets, bool]:
        """Tie each document, and all it is paired with before it, to the first of those.

        The new pairs, each in both directions, and whether they differ from the old ones.
        """
        new = self._buckets(2)
        changed = False
        for place in range(pairs.count):
            documents, least = self._least(pairs, place)
            _spread(new, documents, least)
            _spread(new, least, documents)
            for block in self._blocks(pairs, place):
                first = least[np.searchsorted(documents, block["document"])]
                moved = block["other"] != first
                changed |= bool(moved.any())
                _spread(new, block["other"][moved], first[moved])
                _spread(new, first[moved], block["other"][moved])
        pairs.delete()
        return new, changed

    def _large_star(self, pairs: Buckets) -> tuple[Buckets, bool]:
        """Tie all that come after a document they are paired with to the first it is paired with.

        The new pairs, the later document first, and whether they differ from the old ones.
        """
        new = self._buckets(1)
        changed = False
        for place in range(pairs.count):
            documents, least = self._least(pairs, place)
            least = np.minimum(least, documents)
            for block in self._blocks(pairs, place):
                block = block[block["other"] > block["document"]]
                first = least[np.searchsorted(documents, block["document"])]
                changed |= bool((first != block["document"]).any())
                _spread(new, block["other"], first)
        pairs.delete()
        return new, changed

    def _least(self, pairs: Buckets, place: int) -> tuple[Hashes, Hashes]:
        """The documents of one file, sorted, and the first that each is paired with."""
        documents, least = np.empty(0, np.uint64), np.empty(0, np.uint64)
        for block in self._blocks(pairs, place):
            documents = np.concatenate([documents, block["document"]])
            least = np.concatenate([least, block["other"]])
            order = np.argsort(documents)
            documents, least = documents[order], least[order]
            starts = starts_of_runs(documents)
            documents, least = documents[starts], np.minimum.reduceat(least, starts)
        return documents, least

    def _blocks(self, pairs: Buckets, place: int) -> Iterator[Records]:
        """A file in parts: one document may be paired with more than fit in memory."""
        return pairs.blocks(place, pairs.records_at_once)

    def _buckets(self, directions: int) -> Buckets:
        self._made += 1
        folder = self._folder / str(self._made)
        return Buckets(folder, PAIR, directions * self._most, self._memory)


def _spread(pairs: Buckets, documents: Hashes, others: Hashes) -> None:
    """Add pairs, each once, where their first document says."""
    records = np.empty(len(documents), PAIR)
    records["document"], records["other"] = documents, others
    records = records[np.unique(first_equal(documents, others))]
    pairs.spread(records, mix(records["document"].copy()))
