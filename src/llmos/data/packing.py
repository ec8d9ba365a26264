"""Documents packed into sequences of equal length, in an order that only (seed, step) decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from llmos.data.batches import Batch
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
    was stopped goes on with exactly the batches it would have seen. With a `separator` it also
    says which document of the sequence each token is of, for attention within documents.
    """

    def __init__(
        self, tokens: Tokens, length: int, seed: int, separator: int | None = None
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

    def batch(self, step: int, batch_size: int) -> Batch:
        """The batch of a step: input_ids, labels, (document_ids): (batch_size, length) each.

        `labels` are the tokens that follow the inputs. A separator belongs to the document that it
        begins; `document_ids` count from 0 in each sequence.
        """
        rows = np.empty((batch_size, self.length + 1), np.int64)
        for row in range(batch_size):
            epoch, index = divmod(step * batch_size + row, self.sequences)
            start = self._starts_of(epoch)[index]
            rows[row] = self.tokens[start : start + self.length + 1]
        batch = {"input_ids": rows[:, :-1].copy(), "labels": rows[:, 1:].copy()}
        if self.separator is not None:
            batch["document_ids"] = np.cumsum(rows[:, :-1] == self.separator, axis=1)
        return batch
