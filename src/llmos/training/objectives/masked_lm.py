"""Masked language modelling with next-sentence prediction, as BERT learns (arXiv 1810.04805).

Without next sentences the rows are full of text, documents behind one another with [SEP] between
them, as RoBERTa learns (arXiv 1907.11692, FULL-SENTENCES).
Shapes: B rows, T tokens, P masked tokens a row, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from llmos.data.batches import IGNORE, Batch, Batches
from llmos.data.documents import Document
from llmos.data.languages import companions
from llmos.data.masking import EnclosedRows, MaskedTokens, Masking
from llmos.data.mixture import Group, mix
from llmos.data.packing import TokenRun
from llmos.data.sentence_pairs import Marks, SentencePairs, Sentences
from llmos.data.sentences import sentences
from llmos.errors import ModelError, RecipeError
from llmos.models.scoring import Scores
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe
from llmos.training.objectives.outputs import outputs
from llmos.training.objectives.packed_text import packed
from llmos.training.objectives.units import Predictions, fixed_random, scores_by_unit

Integers = npt.NDArray[np.int64]
Row = dict[str, list[int]]

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class MaskedLM:
    """Rows with some tokens hidden: pairs of segments, or full of text."""

    record = "text"

    def __init__(self, recipe: Recipe, words: Vocabulary) -> None:
        self.words = words
        self.data = recipe.data
        self.pairs = recipe.objective.next_sentence
        self.head = "masked_lm_next_sentence" if self.pairs else "masked_lm"
        self.length = recipe.training.sequence_length
        self.begin, self.separator = words.require("begin"), words.require("separator")
        mask = words.require("mask")
        self.masking = Masking(
            share=recipe.objective.noise_share,
            mask=mask,
            special=(self.begin, self.separator, words.pad, words.end, mask),
            vocabulary_size=words.size,
        )
        self._pad = {
            "input_ids": words.pad,
            "attention_mask": 0,
            "token_type_ids": 0,
            "labels": IGNORE,
            "masked_places": 0,  # [CLS], which has no label
        }
        shortest = 5 if self.pairs else 3
        if self.length < shortest:
            raise RecipeError(
                f"training.sequence_length = {self.length} leaves no text beside the tokens "
                f"around it: raise it to {shortest} or more"
            )

    def batches(self, documents: Sequence[Document], seed: int) -> Batches:
        if not self.pairs:
            groups = packed(documents, self.words, self.separator, self.data)
            return self.packed_batches(groups, seed)
        rows = self._sentence_pairs(documents, seed)
        return MaskedTokens(rows, self.masking, self.length, seed)

    def document_separator(self) -> int:
        if self.pairs:
            raise RecipeError(
                "token shards do not say where sentences end, which next sentences need: write "
                "next_sentence = false in [objective], or train on the text itself"
            )
        return self.separator

    def packed_batches(self, groups: Mapping[Group, TokenRun], seed: int) -> Batches:
        full = mix(groups, self.data, self.length - 2, seed)
        rows = EnclosedRows(full, self.begin, self.separator)
        return MaskedTokens(rows, self.masking, self.length, seed)

    def counts(self, batch: Batch) -> dict[str, int]:
        counts = {"masked_token": int(np.count_nonzero(batch["labels"] != IGNORE))}
        if "next_sentence_label" in batch:
            counts["next_sentence"] = len(batch["next_sentence_label"])
        return counts

    def tokens(self, batch: Batch) -> int:
        if "attention_mask" in batch:
            return int(batch["attention_mask"].sum())
        return batch["input_ids"].size

    def losses(
        self, model: nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        logits, next_logits = _logits(model, batch)
        losses = {"masked_token": _losses_at_masks(logits, batch).sum()}
        if "next_sentence_label" in batch:
            losses["next_sentence"] = functional.cross_entropy(
                _needed(next_logits).float(), batch["next_sentence_label"], reduction="sum"
            )
        return losses

    def score(
        self, model: nn.Module, documents: Sequence[Document], *, block_bytes: int = 0
    ) -> Scores:
        """The losses at masked tokens, which a document's tokens alone decide; bytes are theirs.

        A document is read as one segment, in windows that do not overlap where it is longer than a
        row.
        """
        read = [self._masked_windows(document) for document in documents]
        rows = [row for windows, *_ in read for row in windows]

        def forward(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
            return _losses_at_masks(_logits(model, batch)[0], batch)

        found = outputs(model, rows, self._pad, forward)
        nll = iter(
            losses[: len(row["masked_places"])] for losses, row in zip(found, rows, strict=True)
        )
        predicted = []
        for windows, masked, sizes in read:
            of_document = np.concatenate([np.empty(0), *(next(nll) for _ in windows)])
            places = np.cumsum(sizes) - 1
            predicted.append(Predictions(of_document, sizes[masked], places[masked]))
        return scores_by_unit(predicted, block_bytes)

    def next_sentence_hits(
        self, model: nn.Module, documents: Sequence[Document]
    ) -> npt.NDArray[np.bool_]:
        """For each pair of these documents whether the model tells next from random: (pairs,).

        Half of the pairs are random; no token is hidden; the same pairs at every call.
        """
        source = self._sentence_pairs(documents, seed=0)
        batch = source.fill(source.pairs(0))
        sizes = batch["attention_mask"].sum(axis=1)
        rows: list[Row] = [
            {name: batch[name][row, :size].tolist() for name in INPUTS}
            for row, size in enumerate(sizes)
        ]

        def forward(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
            anywhere = torch.zeros_like(inputs["input_ids"][:, :1])
            return _needed(_logits(model, {**inputs, "masked_places": anywhere})[1])

        found = np.stack(outputs(model, rows, self._pad, forward))
        return np.asarray(found.argmax(axis=1) == batch["next_sentence_label"])

    def next_sentence_accuracy(self, model: nn.Module, documents: Sequence[Document]) -> float:
        """The share of pairs of these documents that the model tells right."""
        return float(self.next_sentence_hits(model, documents).mean())

    def _sentence_pairs(self, documents: Sequence[Document], seed: int) -> SentencePairs:
        encoded = {
            index: self._sentences(document.text) for index, document in enumerate(documents)
        }
        kept = [index for index, document in encoded.items() if len(document.sizes)]
        return SentencePairs(
            [encoded[index] for index in kept],
            companions([documents[index] for index in kept]),
            self.length,
            seed,
            Marks(self.begin, self.separator, self.words.pad),
        )

    def _sentences(self, text: str) -> Sentences:
        encoded = [tokens for tokens in self.words.encode_all(sentences(text)) if tokens]
        tokens = np.fromiter(chain.from_iterable(encoded), np.uint32)
        return Sentences(tokens, np.array([len(sentence) for sentence in encoded], np.int64))

    def _masked_windows(self, document: Document) -> tuple[list[Row], Integers, Integers]:
        """A document's windows, which of its tokens are masked, and the bytes of all of them."""
        tokens, sizes = self.words.encode_with_bytes(document.text)
        random = fixed_random(np.array(tokens, np.int64))
        room = self.length - 2
        windows: list[Row] = []
        masked = [np.empty(0, np.int64)]
        for start in range(0, len(tokens), room):
            row = np.array([[self.begin, *tokens[start : start + room], self.separator]], np.int64)
            ids, labels = self.masking.hide(row, np.array([row.size]), random)
            places = np.flatnonzero(labels != IGNORE)
            masked.append(start + places - 1)
            windows.append(
                {
                    "input_ids": ids[0].tolist(),
                    "attention_mask": [1] * ids.size,
                    "labels": labels[0].tolist(),
                    "masked_places": places.tolist(),
                }
            )
        return windows, np.concatenate(masked), sizes


def _logits(
    model: nn.Module, batch: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The logits of tokens at `masked_places`, (B, P, V), and of the next sentence, (B, 2).

    BERT's are computed at those places only, as its own training program does.
    """
    inputs = {name: batch[name] for name in INPUTS if name in batch}
    places = batch["masked_places"]
    body: Any = getattr(model, "bert", None)
    heads: Any = getattr(model, "cls", None)
    if body is None or heads is None:
        output = model(**inputs)
        logits = output.get("prediction_logits", output.get("logits"))
        return _at(logits, places), output.get("seq_relationship_logits")
    found = body(**inputs)
    logits = heads.predictions(_at(found.last_hidden_state, places))
    pooled = found.pooler_output
    return logits, None if pooled is None else heads.seq_relationship(pooled)


def _at(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """`values` (B, T, N) at `places` (B, P): (B, P, N)."""
    return values.gather(1, places[:, :, None].expand(-1, -1, values.shape[-1]))


def _losses_at_masks(logits: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The loss at each of `masked_places`, in nats, 0 where there is no label: (B, P)."""
    labels = batch["labels"].gather(1, batch["masked_places"])
    return functional.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none")


def _needed(next_logits: torch.Tensor | None) -> torch.Tensor:
    if next_logits is None:
        raise ModelError(
            "the model has no head for the next sentence: choose a base that BERT's two objectives "
            "trained, or write next_sentence = false in [objective]"
        )
    return next_logits
