"""Tokens hidden from an encoder, which learns to tell them: BERT's masked language modelling.

After Devlin et al. (arXiv 1810.04805, A.1) and google-research/bert, create_pretraining_data.py;
drawn anew in each epoch, as RoBERTa does (arXiv 1907.11692). B rows, T places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmos.data.batches import IGNORE, Batch, Batches

Integers = npt.NDArray[np.int64]

MASKED, REPLACED = 0.8, 0.1
"""Of the chosen tokens these shares become [MASK] and a random token; the rest stays as it is."""
_STREAM = 1 << 62
"""Keeps these random numbers apart from those that order the rows."""


@dataclass(frozen=True)
class Masking:
    """Which tokens are hidden, and by what.

    share: of a row's tokens, special ones counted; mask: the id of [MASK]; special: ids that are
    never hidden, the padding among them; vocabulary_size: random tokens are drawn from all of it.
    """

    share: float
    mask: int
    special: tuple[int, ...]
    vocabulary_size: int

    def most(self, length: int) -> int:
        """How many tokens of a row of `length` are hidden at most."""
        return max(1, round(length * self.share))

    def hide(
        self, ids: Integers, lengths: Integers, random: np.random.Generator
    ) -> tuple[Integers, Integers]:
        """Inputs with tokens hidden, and labels that have those tokens, else IGNORE: (B, T) each.

        Of a row of `lengths` (B,) tokens, max(1, round(share x length)) are hidden, or as many as
        there are without the special ones.
        """
        candidate = ~np.isin(ids, self.special)
        wanted = np.maximum(1, np.rint(lengths * self.share)).astype(np.int64)
        wanted = np.minimum(wanted, candidate.sum(axis=1))
        order = np.where(candidate, random.random(ids.shape), 2.0)
        last = np.take_along_axis(np.sort(order, axis=1), np.maximum(wanted - 1, 0)[:, None], 1)
        chosen = candidate & (order <= last) & (wanted > 0)[:, None]
        labels = np.where(chosen, ids, IGNORE)
        fate = random.random(ids.shape)
        hidden = np.where(chosen & (fate < MASKED), self.mask, ids)
        replaced = chosen & (fate >= MASKED) & (fate < MASKED + REPLACED)
        hidden[replaced] = random.integers(0, self.vocabulary_size, int(replaced.sum()))
        return hidden, labels


class MaskedTokens:
    """The batches of another source with tokens hidden, which ones is decided by (seed, step).

    Adds to a batch `labels` (B, T) and `masked_places` (B, P): where the labels of each row are,
    filled up with places that have none, so that P is the same in all batches (`length` is the
    longest row's).
    """

    def __init__(self, source: Batches, masking: Masking, length: int, seed: int) -> None:
        self.source = source
        self.masking = masking
        self.length = length
        self.seed = seed

    def batch(self, step: int, batch_size: int) -> Batch:
        batch = self.source.batch(step, batch_size)
        random = np.random.Generator(np.random.Philox(key=[self.seed, _STREAM + step]))
        ids = batch["input_ids"]
        lengths = np.full(len(ids), ids.shape[1])
        if "attention_mask" in batch:
            lengths = batch["attention_mask"].sum(axis=1)
        hidden, labels = self.masking.hide(ids, lengths, random)
        return {
            **batch,
            "input_ids": hidden,
            "labels": labels,
            "masked_places": masked_places(labels, self.masking.most(self.length)),
        }


def masked_places(labels: Integers, most: int) -> Integers:
    """The places of each row's labels in their order, then some without a label: (B, P).

    P is `most`, or T where that is less.
    """
    return np.argsort(labels == IGNORE, axis=1, kind="stable")[:, :most]


class EnclosedRows:
    """The rows of another source between two marks each: [CLS] ... [SEP], without padding."""

    def __init__(self, source: Batches, begin: int, separator: int) -> None:
        self.source = source
        self.begin = begin
        self.separator = separator

    def batch(self, step: int, batch_size: int) -> Batch:
        """input_ids, (B, T + 2)."""
        rows = self.source.batch(step, batch_size)["input_ids"]
        ends = ((0, 0), (1, 1))
        return {"input_ids": np.pad(rows, ends, constant_values=(self.begin, self.separator))}
