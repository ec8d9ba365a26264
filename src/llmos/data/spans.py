"""Spans hidden from an encoder, which a decoder writes: T5's span corruption.

After Raffel et al. (arXiv 1910.10683, 3.1.4) and google-research/text-to-text-transfer-transformer,
t5/data/preprocessors.py: `random_spans_helper`, `random_spans_noise_mask`,
`noise_span_to_unique_sentinel` and `nonnoise_span_to_unique_sentinel`. With noise in brackets

    Thank you [for inviting] me to your party [last] week
    inputs:  Thank you <extra_id_0> me to your party <extra_id_1> week </s>
    targets: <extra_id_0> for inviting <extra_id_1> last </s>

(a row of T5's begins with text and ends with noise). B rows, L tokens of text, T places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmos.data.batches import Batch, Batches
from llmos.errors import RecipeError

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_STREAM = 1 << 62
"""Keeps these random numbers apart from those that order the rows."""


@dataclass(frozen=True)
class Corruption:
    """How rows are corrupted: the share of noise, the mean length of its spans, in tokens.

    sentinels: the ids that stand for the spans, in their order; end: the id of </s>; pad: the id
    that the decoder begins with.
    """

    share: float
    span_length: float
    sentinels: tuple[int, ...]
    end: int
    pad: int

    def counts(self, length: int) -> tuple[int, int]:
        """How many of `length` tokens (2 or more) are noise, and in how many spans."""
        noise = min(max(round(length * self.share), 1), length - 1)
        spans = max(round(noise / self.span_length), 1)
        return noise, min(spans, length - noise)  # text stands before each span

    def inputs_length(self, length: int) -> int:
        """Length of the inputs that `length` tokens of text become, with </s>."""
        noise, spans = self.counts(length)
        return length - noise + spans + 1

    def text_length(self, inputs_length: int) -> int:
        """Most tokens of text that become at most `inputs_length` of inputs.

        They are exactly as many, but where spans are cut short for want of text between them.
        Raises `RecipeError` where they have more spans than there are sentinels, or no room.
        """
        length = 1
        while self.inputs_length(length + 1) <= inputs_length:
            length += 1
            spans = self.counts(length)[1]
            if spans > len(self.sentinels):
                raise RecipeError(
                    f"rows of training.sequence_length = {inputs_length} tokens need {spans} or "
                    f"more sentinels (<extra_id_0>, ...), but the tokenizer has "
                    f"{len(self.sentinels)}: lower it, raise objective.span_length, or choose a "
                    "base that has more"
                )
        if length < 2:
            raise RecipeError(
                f"training.sequence_length = {inputs_length} leaves no text beside a sentinel and "
                "</s>: raise it to 3 or more"
            )
        return length

    def noise(self, rows: int, length: int, random: np.random.Generator) -> Mask:
        """Which tokens are noise: (rows, length).

        Text and noise take turns, text first. All divisions of both into so many spans are equally
        likely.
        """
        noise, spans = self.counts(length)
        lengths = np.empty((rows, 2 * spans), np.int64)
        lengths[:, 1::2] = _segments(rows, noise, spans, random)
        lengths[:, ::2] = _segments(rows, length - noise, spans, random)
        turns = np.zeros((rows, length), np.int64)
        np.put_along_axis(turns, np.cumsum(lengths, axis=1)[:, :-1], 1, axis=1)
        return np.asarray(np.cumsum(turns, axis=1) % 2 == 1)

    def corrupt(self, tokens: Integers, noise: Mask) -> Batch:
        """Rows with their noise taken out: tokens and noise are (B, L).

        input_ids: (B, T); labels: (B, U), what the decoder writes; decoder_input_ids: (B, U), the
        same one place later. Each row must have as much noise, in as many spans.
        """
        end = ((0, 0), (0, 1))
        inputs = self._with_sentinels(tokens, noise)
        labels = np.pad(self._with_sentinels(tokens, ~noise), end, constant_values=self.end)
        return {
            "input_ids": np.pad(inputs, end, constant_values=self.end),
            "decoder_input_ids": np.pad(labels[:, :-1], ((0, 0), (1, 0)), constant_values=self.pad),
            "labels": labels,
        }

    def _with_sentinels(self, tokens: Integers, hidden: Mask) -> Integers:
        """Each run of hidden tokens replaced by a sentinel, the first by the first one."""
        first = starts(hidden)
        number = np.cumsum(first, axis=1) - 1
        replaced = np.where(first, np.array(self.sentinels, np.int64)[number], tokens)
        return replaced[first | ~hidden].reshape(len(tokens), -1)


class CorruptedSpans:
    """The rows of another source, corrupted as (seed, step) decides (see `Corruption.corrupt`)."""

    def __init__(self, source: Batches, corruption: Corruption, seed: int) -> None:
        self.source = source
        self.corruption = corruption
        self.seed = seed

    def batch(self, step: int, batch_size: int) -> Batch:
        tokens = self.source.batch(step, batch_size)["input_ids"]
        random = np.random.Generator(np.random.Philox(key=[self.seed, _STREAM + step]))
        noise = self.corruption.noise(len(tokens), tokens.shape[1], random)
        return self.corruption.corrupt(tokens, noise)


def starts(runs: Mask) -> Mask:
    """Where a run of True begins in each row: (B, L)."""
    before = np.pad(runs[:, :-1], ((0, 0), (1, 0)))
    return runs & ~before


def _segments(rows: int, items: int, segments: int, random: np.random.Generator) -> Integers:
    """For each row the lengths of `segments` parts of `items`, none empty: (rows, segments)."""
    cuts = np.tile(np.arange(items - 1) < segments - 1, (rows, 1))
    ends = np.nonzero(random.permuted(cuts, axis=1))[1].reshape(rows, segments - 1) + 1
    bounds = np.pad(ends, ((0, 0), (1, 1)))
    bounds[:, -1] = items
    return np.diff(bounds, axis=1)
