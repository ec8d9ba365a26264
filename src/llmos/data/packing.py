"""Documents packed into sequences of equal length, in an order that only (seed, step) decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from llmos.errors import DataError

Tokens = npt.NDArray[np.unsignedinteger]


def pack(documents: Iterable[Sequence[int]], separator: int, vocabulary_size: int) -> Tokens:
    """All documents behind one another, each begun and ended by `separator`: (tokens,)."""
    kind = np.uint16 if vocabulary_size <= 1 << 16 else np.uint32
    pieces = [np.array([separator], dtype=kind)]
    for tokens in documents:
        pieces.append(np.asarray(tokens, dtype=kind))
        pieces.append(np.array([separator], dtype=kind))
    return np.concatenate(pieces)


class PackedSequences:
    """Sequences of `length` tokens and their targets, reshuffled and shifted every epoch.

    The batch of a step depends on (tokens, length, seed, step, batch size) alone, so a run that
    was stopped goes on with exactly the batches it would have seen.
    """

    def __init__(self, tokens: Tokens, length: int, seed: int) -> None:
        if len(tokens) < length + 1:
            raise DataError(
                f"only {len(tokens)} tokens of training text, fewer than one sequence of {length}: "
                "add text or lower training.sequence_length in the recipe"
            )
        self.tokens = tokens
        self.length = length
        self.seed = seed
        # One sequence fewer than fit leaves room to shift the cuts from epoch to epoch.
        self.sequences = max(1, (len(tokens) - 1) // length - 1)
        self._epoch = -1
        self._starts: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def _starts_of(self, epoch: int) -> npt.NDArray[np.int64]:
        if epoch != self._epoch:
            random = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
            room = len(self.tokens) - 1 - self.sequences * self.length
            shift = int(random.integers(0, room + 1))
            self._starts = random.permutation(self.sequences) * self.length + shift
            self._epoch = epoch
        return self._starts

    def batch(self, step: int, batch_size: int) -> npt.NDArray[np.int64]:
        """The batch of a step: (batch_size, length + 1); inputs [:, :-1], targets [:, 1:]."""
        rows = np.empty((batch_size, self.length + 1), np.int64)
        for row in range(batch_size):
            epoch, index = divmod(step * batch_size + row, self.sequences)
            start = self._starts_of(epoch)[index]
            rows[row] = self.tokens[start : start + self.length + 1]
        return rows
