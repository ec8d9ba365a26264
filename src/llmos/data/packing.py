"""Documents packed into sequences of equal length, in an order that only (seed, step) decides."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Protocol

import numpy as np
import numpy.typing as npt

from llmos.data.batches import Batch
from llmos.data.permutation import Order, random_order
from llmos.errors import DataError

Tokens = npt.NDArray[np.unsignedinteger]
Integers = npt.NDArray[np.int64]


class TokenRun(Protocol):
    """Tokens behind one another, wherever they lie: an array, or `JoinedTokens`."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Tokens: ...


def token_type(vocabulary_size: int) -> type[np.unsignedinteger]:
    """The smallest type that holds every id: two bytes up to 65,536 ids, else four."""
    return np.uint16 if vocabulary_size <= 1 << 16 else np.uint32


def pack(documents: Iterable[Sequence[int]], separator: int | None, vocabulary_size: int) -> Tokens:
    """All documents behind one another, each begun and ended by `separator`, if any: (tokens,)."""
    kind = token_type(vocabulary_size)
    between = np.array([] if separator is None else [separator], dtype=kind)
    pieces = [between]
    for tokens in documents:
        pieces.append(np.asarray(tokens, dtype=kind))
        pieces.append(between)
    return np.concatenate(pieces)


class JoinedTokens:
    """Several runs of tokens as one."""

    def __init__(self, runs: Sequence[TokenRun]) -> None:
        self._runs = runs
        self._ends = [0, *accumulate(map(len, runs))]

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, part: slice, /) -> Tokens:
        start, stop, _ = part.indices(len(self))
        found = []
        number = bisect_right(self._ends, start) - 1
        while start < stop:
            begin, end = self._ends[number], min(stop, self._ends[number + 1])
            found.append(self._runs[number][start - begin : end - begin])
            start, number = max(start, end), number + 1
        return np.concatenate(found) if found else np.empty(0, np.uint16)


class PackedSequences:
    """Sequences of `length` tokens and their targets, reshuffled and shifted every epoch.

    The batch of a step depends on (tokens, length, seed, step, batch size) alone, so a run that
    was stopped goes on with exactly the batches it would have seen. With a `separator` it also
    says which document of the sequence each token is of, for attention within documents.
    """

    def __init__(
        self, tokens: TokenRun, length: int, seed: int, separator: int | None = None
    ) -> None:
        if len(tokens) < length + 1:
            raise DataError(
                f"only {len(tokens)} tokens of training text, fewer than one sequence of {length}: "
                "add text or lower training.sequence_length in the recipe"
            )
        self.tokens = tokens
        self.length = length
        self.separator = separator
        self.seed = seed
        # One sequence fewer than fit leaves room to shift the cuts from epoch to epoch.
        self.sequences = max(1, (len(tokens) - 1) // length - 1)
        self._orders: dict[int, tuple[int, Order]] = {}

    def _order(self, epoch: int) -> tuple[int, Order]:
        """How far the cuts are shifted in an epoch, and the order of its sequences."""
        if epoch not in self._orders:
            random = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
            room = len(self.tokens) - 1 - self.sequences * self.length
            shift = int(random.integers(0, room + 1))
            # Only the last epoch can be needed again, for the batch at the border.
            self._orders = {k: v for k, v in self._orders.items() if k == epoch - 1}
            self._orders[epoch] = shift, random_order(random, self.sequences)
        return self._orders[epoch]

    def starts(self, numbers: Integers) -> Integers:
        """The token at which each sequence begins, counted through all epochs: (n,)."""
        epochs, places = np.divmod(numbers, self.sequences)
        found = np.empty(len(numbers), np.int64)
        for epoch in np.unique(epochs).tolist():
            shift, order = self._order(epoch)
            here = epochs == epoch
            found[here] = order(places[here]) * self.length + shift
        return found

    def rows(self, numbers: Integers) -> Integers:
        """The tokens of sequences by their number, and one more of each: (n, length + 1)."""
        rows = np.empty((len(numbers), self.length + 1), np.int64)
        for row, start in zip(rows, self.starts(numbers).tolist(), strict=True):
            row[:] = self.tokens[start : start + self.length + 1]
        return rows

    def batch(self, step: int, batch_size: int) -> Batch:
        """The batch of a step: input_ids, labels, (document_ids): (batch_size, length) each.

        `labels` are the tokens that follow the inputs. A separator belongs to the document that it
        begins; `document_ids` count from 0 in each sequence.
        """
        numbers = step * batch_size + np.arange(batch_size)
        return batch_of_rows(self.rows(numbers), self.separator)


def batch_of_rows(rows: Integers, separator: int | None) -> Batch:
    """The batch of rows (B, T + 1) (see `PackedSequences.batch`)."""
    batch = {"input_ids": rows[:, :-1].copy(), "labels": rows[:, 1:].copy()}
    if separator is not None:
        batch["document_ids"] = np.cumsum(rows[:, :-1] == separator, axis=1)
    return batch
