"""Batches of examples of different length, those of like length together, filled up with padding.

The order is one that only (seed, step, batch size) decides. B rows, T places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from llmos.data.batches import Batch
from llmos.errors import DataError

POOL = 256
"""Batches that are sorted by length together: more of them, less padding, but less mixing."""

Example = Mapping[str, Sequence[int] | int]


class PaddedExamples:
    """Every example once an epoch, in batches of similar lengths.

    All examples have the same names. A sequence becomes a row, filled up at its right with
    `pad[name]` to the longest of its batch; a single number becomes an entry of a (B,) array.
    Sorted are pools of `POOL` batches drawn at random in each epoch, by the length of the first
    name, then of the next; the batches are shuffled again. A batch at the border of two epochs
    holds rows of both.
    Raises `DataError` where there is no example.
    """

    def __init__(self, examples: Sequence[Example], pad: Mapping[str, int], seed: int) -> None:
        if not examples:
            raise DataError("there is no example to train on: add records")
        self.examples = examples
        self.pad = pad
        self.seed = seed
        lengths = [[len(v) for v in e.values() if not isinstance(v, int)] for e in examples]
        # Rank of each example by its lengths; those of equal lengths stay in the order drawn.
        self._rank = np.unique(lengths, axis=0, return_inverse=True)[1].reshape(len(examples))
        self._orders: dict[tuple[int, int], npt.NDArray[np.int64]] = {}

    def batch(self, step: int, batch_size: int) -> Batch:
        """The batch of a step: (batch_size, T) for sequences, (batch_size,) for numbers."""
        places = [divmod(step * batch_size + row, len(self.examples)) for row in range(batch_size)]
        chosen = [self.examples[self._order(epoch, batch_size)[at]] for epoch, at in places]
        return pad_rows(chosen, self.pad)

    def _order(self, epoch: int, batch_size: int) -> npt.NDArray[np.int64]:
        """The examples of an epoch in their order, so that each whole batch is of like lengths."""
        if (epoch, batch_size) not in self._orders:
            # Only the last epoch can be needed again, for the batch at the border.
            self._orders = {k: v for k, v in self._orders.items() if k == (epoch - 1, batch_size)}
            self._orders[epoch, batch_size] = self._draw(epoch, batch_size)
        return self._orders[epoch, batch_size]

    def _draw(self, epoch: int, batch_size: int) -> npt.NDArray[np.int64]:
        random = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        order = random.permutation(len(self.examples))
        # What completes the batch that the epoch before began, and what begins that of the next.
        first = min(-epoch * len(order) % batch_size, len(order))
        last = first + (len(order) - first) // batch_size * batch_size
        middle = order[first:last]
        for start in range(0, len(middle), POOL * batch_size):
            pool = middle[start : start + POOL * batch_size]
            middle[start : start + len(pool)] = pool[np.argsort(self._rank[pool], kind="stable")]
        batches = middle.reshape(-1, batch_size)
        order[first:last] = batches[random.permutation(len(batches))].ravel()
        return order


def pad_rows(examples: Sequence[Example], pad: Mapping[str, int]) -> Batch:
    """The examples as one batch, each sequence filled up at its right: (B, T) or (B,) by name."""
    batch: Batch = {}
    for name in examples[0]:
        values = [example[name] for example in examples]
        if isinstance(values[0], int):
            batch[name] = np.array(values, np.int64)
            continue
        rows = [np.asarray(value, np.int64) for value in values]
        batch[name] = np.full((len(rows), max(map(len, rows))), pad[name], np.int64)
        for row, value in zip(batch[name], rows, strict=True):
            row[: len(value)] = value
    return batch
