"""Examples of different length, several in a row of one length, none of them split.

The order is one that only (seed, step, batch size) decides. B rows, T places.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from llmos.data.batches import Batch
from llmos.errors import DataError

Row = list[int]
"""The numbers of the examples that stand in a row."""


class PackedExamples:
    """Every example once an epoch, packed by best-fit decreasing (arXiv 2404.10830).

    The sequences of an example have one length, at most `length`; the places behind the last
    example of a row are filled with `pad[name]`. The rows are packed anew in each epoch. A batch
    at the border of two epochs holds rows of both. Raises `DataError` where there is no example.
    """

    def __init__(
        self,
        examples: Sequence[Mapping[str, Sequence[int]]],
        length: int,
        pad: Mapping[str, int],
        seed: int,
    ) -> None:
        if not examples:
            raise DataError("there is no example to train on: add records")
        self.examples = examples
        self.length = length
        self.pad = pad
        self.seed = seed
        self._sizes = np.array([len(next(iter(example.values()))) for example in examples])
        self._ends = [0]  # rows up to the end of each epoch, from the epoch before the first
        self._packed: dict[int, list[Row]] = {}

    def batch(self, step: int, batch_size: int) -> Batch:
        """The batch of a step: each name of the examples and document_ids, (batch_size, length).

        `document_ids` count the examples of a row from 0; padding has -1.
        """
        rows = [self._row(step * batch_size + row) for row in range(batch_size)]
        shape = (batch_size, self.length)
        batch: Batch = {name: np.full(shape, value, np.int64) for name, value in self.pad.items()}
        batch["document_ids"] = np.full(shape, -1, np.int64)
        for at, numbers in enumerate(rows):
            start = 0
            for document, number in enumerate(numbers):
                end = start + int(self._sizes[number])
                for name, values in self.examples[number].items():
                    batch[name][at, start:end] = values
                batch["document_ids"][at, start:end] = document
                start = end
        return batch

    def _row(self, number: int) -> Row:
        """The row of this number, counted through all epochs."""
        while self._ends[-1] <= number:
            self._ends.append(self._ends[-1] + len(self.rows(len(self._ends) - 1)))
        epoch = bisect_right(self._ends, number) - 1
        return self.rows(epoch)[number - self._ends[epoch]]

    def rows(self, epoch: int) -> list[Row]:
        """Which examples stand in each row of an epoch."""
        if epoch not in self._packed:
            random = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
            order = random.permutation(len(self._sizes))
            # The longest first, and in a random order those of one length.
            by_size = order[np.argsort(-self._sizes[order], kind="stable")]
            rows = best_fit(self._sizes.tolist(), by_size.tolist(), self.length)
            place = np.argsort(order).tolist()  # of each example, in the order drawn
            # Only the last epoch can be needed again, for the batch at the border.
            self._packed = {k: v for k, v in self._packed.items() if k == epoch - 1}
            self._packed[epoch] = [
                sorted(rows[row], key=place.__getitem__) for row in random.permutation(len(rows))
            ]
        return self._packed[epoch]


def best_fit(sizes: Sequence[int], order: Iterable[int], length: int) -> list[Row]:
    """Rows of at most `length`, each item of `order` put where it leaves the least room."""
    rows: list[Row] = []
    with_room: list[list[int]] = [[] for _ in range(length + 1)]  # rows by the room left in them
    rooms = 0  # bit n is set where some row has room n
    for number in order:
        size = sizes[number]
        fitting = rooms >> size
        if fitting:
            room = size + (fitting & -fitting).bit_length() - 1
            row = with_room[room].pop()
            if not with_room[room]:
                rooms ^= 1 << room
        else:
            room, row = length, len(rows)
            rows.append([])
        rows[row].append(number)
        with_room[room - size].append(row)
        rooms |= 1 << (room - size)
    return rows
