"""Causal language modelling: predict each token from those before it.

Shapes: B sequences, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from llmos.data.batches import IGNORE, Batch, Batches
from llmos.data.documents import Document
from llmos.data.mixture import Group, mix
from llmos.data.packing import TokenRun
from llmos.models.scoring import Scores, score_texts
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe
from llmos.training.objectives.packed_text import packed
from llmos.training.objectives.token_loss import label_loss_sum


class CausalLM:
    """Documents behind one another, cut into sequences without padding."""

    head = "causal_lm"
    record = "text"

    def __init__(self, recipe: Recipe, words: Vocabulary) -> None:
        self.recipe = recipe
        self.words = words

    def document_separator(self) -> int:
        return self.words.end

    def batches(self, documents: Sequence[Document], seed: int) -> Batches:
        groups = packed(documents, self.words, self.words.end, self.recipe.data)
        return self.packed_batches(groups, seed)

    def packed_batches(self, groups: Mapping[Group, TokenRun], seed: int) -> Batches:
        training = self.recipe.training
        separator = self.words.end if training.document_attention else None
        return mix(groups, self.recipe.data, training.sequence_length, seed, separator)

    def counts(self, batch: Batch) -> dict[str, int]:
        return {"token": int(np.count_nonzero(batch["labels"] != IGNORE))}

    def tokens(self, batch: Batch) -> int:
        return batch["input_ids"].size

    def losses(
        self, model: nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        inputs = {"input_ids": batch["input_ids"], **within_documents(batch)}
        return {"token": label_loss_sum(model, batch["labels"], **inputs, use_cache=False)}

    def score(
        self, model: nn.Module, documents: Sequence[Document], *, block_bytes: int = 0
    ) -> Scores:
        return score_texts(
            model,
            [document.text for document in documents],
            self.words.encode_with_bytes,
            begin=self.words.end,
            length=self.recipe.training.sequence_length,
            stride=self.recipe.evaluation.stride,
            block_bytes=block_bytes,
        )


def within_documents(batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What keeps attention within each document: an additive mask (B, 1, T, T) and positions.

    Empty where the batch does not say which document (`document_ids`, (B, T)) a token is of.
    """
    documents = batch.get("document_ids")
    if documents is None:
        return {}
    length = documents.shape[1]
    places = torch.arange(length, device=documents.device)
    allowed = documents[:, :, None] == documents[:, None, :]  # (B, T, T)
    allowed &= places[:, None] >= places[None, :]
    mask = torch.zeros(allowed.shape, device=documents.device)
    mask.masked_fill_(~allowed, torch.finfo(torch.float32).min)
    # The first place of the document that each token is of.
    first = torch.where(allowed, places, length).amin(dim=-1)
    return {"attention_mask": mask[:, None], "position_ids": places - first}
