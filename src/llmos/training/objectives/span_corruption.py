"""Span corruption: the decoder writes what was taken out of the text, as T5 learns.

See `data.spans` for what is hidden and how (arXiv 1910.10683). Documents run into one another and
rows have no padding, as there. Shapes: B rows, L tokens of text, U tokens to write, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from llmos.data.batches import IGNORE, Batch
from llmos.data.documents import Document
from llmos.data.mixture import Group, mix
from llmos.data.packing import TokenRun
from llmos.data.spans import CorruptedSpans, Corruption, starts
from llmos.models.scoring import Scores
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe
from llmos.training.objectives.outputs import outputs
from llmos.training.objectives.packed_text import packed
from llmos.training.objectives.token_loss import label_loss_sum
from llmos.training.objectives.units import Predictions, fixed_random, scores_by_unit

Integers = npt.NDArray[np.int64]


class SpanCorruption:
    """Rows whose encoder reads exactly the recipe's sequence length."""

    head = "seq2seq"
    record = "text"

    def __init__(self, recipe: Recipe, words: Vocabulary) -> None:
        self.words = words
        self.data = recipe.data
        self.corruption = Corruption(
            share=recipe.objective.noise_share,
            span_length=recipe.objective.span_length,
            sentinels=words.sentinels,
            end=words.end,
            pad=words.pad,
        )
        self.text_length = self.corruption.text_length(recipe.training.sequence_length)
        self._pad = {
            "input_ids": words.pad,
            "attention_mask": 0,
            "decoder_input_ids": words.pad,
            "labels": IGNORE,
        }

    def document_separator(self) -> None:
        return None

    def batches(self, documents: Sequence[Document], seed: int) -> CorruptedSpans:
        return self.packed_batches(packed(documents, self.words, None, self.data), seed)

    def packed_batches(self, groups: Mapping[Group, TokenRun], seed: int) -> CorruptedSpans:
        rows = mix(groups, self.data, self.text_length, seed)
        return CorruptedSpans(rows, self.corruption, seed)

    def counts(self, batch: Batch) -> dict[str, int]:
        return {"token": batch["labels"].size}

    def tokens(self, batch: Batch) -> int:
        return batch["input_ids"].size + batch["labels"].size

    def losses(
        self, model: nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        return {"token": label_loss_sum(model, batch["labels"], **_inputs(batch))}

    def score(
        self, model: nn.Module, documents: Sequence[Document], *, block_bytes: int = 0
    ) -> Scores:
        """The losses at all that the decoder writes, from noise that a document's tokens decide.

        Bytes are those of the noise; the sentinels and </s> are to be predicted, but have none.
        Documents are cut into rows; a single token that is left over is not read.
        """
        read = [self._corrupted(document) for document in documents]
        rows = [row for windows, _ in read for row in windows]

        def forward(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
            return _losses(model, batch)

        found = iter(outputs(model, rows, self._pad, forward))
        predicted = []
        for windows, origins in read:
            nll = [next(found)[: len(row["labels"])] for row in windows]
            sizes, places = np.concatenate([np.empty((2, 0), np.int64), *origins], axis=1)
            predicted.append(Predictions(np.concatenate([np.empty(0), *nll]), sizes, places))
        return scores_by_unit(predicted, block_bytes)

    def _corrupted(self, document: Document) -> tuple[list[dict[str, list[int]]], list[Integers]]:
        """A document's rows, and for each of them the bytes and places of its labels, (2, U)."""
        tokens, sizes = self.words.encode_with_bytes(document.text)
        text = np.array(tokens, np.int64)
        ends = np.cumsum(sizes) - 1
        random = fixed_random(text)
        rows: list[dict[str, list[int]]] = []
        origins: list[Integers] = []
        for start in range(0, len(text) - 1, self.text_length):
            window = text[None, start : start + self.text_length]
            noise = self.corruption.noise(1, window.size, random)
            row = self.corruption.corrupt(window, noise)
            rows.append(
                {
                    "input_ids": row["input_ids"][0].tolist(),
                    "attention_mask": [1] * row["input_ids"].size,
                    "decoder_input_ids": row["decoder_input_ids"][0].tolist(),
                    "labels": row["labels"][0].tolist(),
                }
            )
            # A sentinel stands in the labels before its span's tokens, </s> behind the last one.
            shown = np.flatnonzero(noise[0] | starts(~noise)[0])
            is_token = noise[0, shown]
            source = start + np.append(np.where(is_token, shown, np.roll(shown, -1)), shown[-1])
            origins.append(np.stack([sizes[source] * np.append(is_token, False), ends[source]]))
        return rows, origins


def _inputs(batch: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    names = ("input_ids", "attention_mask", "decoder_input_ids")
    return {"use_cache": False, **{name: batch[name] for name in names if name in batch}}


def _losses(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The loss of each label, in nats, 0 at padding: (B, U)."""
    logits = model(**_inputs(batch)).logits  # (B, U, V)
    return functional.cross_entropy(
        logits.float().transpose(1, 2), batch["labels"], reduction="none"
    )
