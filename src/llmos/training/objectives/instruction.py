"""Instruction and chat fine-tuning: predict the assistant's answers, given all that came before.

Shapes: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from llmos.data.batches import IGNORE, Batch
from llmos.data.documents import Document
from llmos.data.packed_examples import PackedExamples
from llmos.models.chat import message_tokens, require_roles
from llmos.models.scoring import Scores
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe
from llmos.training.objectives.causal_lm import within_documents
from llmos.training.objectives.outputs import outputs


class _Chat(NamedTuple):
    """A chat as a row of its own, the UTF-8 bytes of its answers there, and if it was too long."""

    row: dict[str, array[int]]
    answer_bytes: int
    is_cut: bool


class Instruction:
    """Chats, several of them in a row, with the loss on the answers and their ends.

    A chat longer than the recipe's sequence length loses the beginnings of what is not an answer,
    of the first message first, for the end of a prompt mostly holds the question; where that is not
    enough, it loses its end. `cut` counts such chats when `batches` was called last.
    """

    head = "causal_lm"
    record = "chat"

    def __init__(self, recipe: Recipe, words: Vocabulary) -> None:
        require_roles(words)
        self.words = words
        self.length = recipe.training.sequence_length
        self.document_attention = recipe.training.document_attention
        self.cut = 0
        self._pad = {"input_ids": words.pad, "labels": IGNORE}

    def batches(self, documents: Sequence[Document], seed: int) -> PackedExamples:
        chats = [self._chat(document) for document in documents]
        self.cut = sum(chat.is_cut for chat in chats)
        return PackedExamples([chat.row for chat in chats], self.length, self._pad, seed)

    def counts(self, batch: Batch) -> dict[str, int]:
        return {"token": int(np.count_nonzero(batch["labels"] != IGNORE))}

    def tokens(self, batch: Batch) -> int:
        return int(np.count_nonzero(batch["document_ids"] >= 0))

    def losses(
        self, model: nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        inputs = {"input_ids": batch["input_ids"]}
        if self.document_attention:
            inputs |= within_documents(batch)
        logits = model(**inputs, use_cache=False).logits.float()  # (B, T, V)
        labels = batch["labels"].flatten()
        loss = functional.cross_entropy(logits.flatten(0, 1), labels, reduction="sum")
        return {"token": loss}

    def score(
        self, model: nn.Module, documents: Sequence[Document], *, block_bytes: int = 0
    ) -> Scores:
        """The surprise at each chat's answers and their ends, whatever `block_bytes`."""

        def forward(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
            logits = model(input_ids=batch["input_ids"], use_cache=False).logits.float()
            losses = functional.cross_entropy(
                logits.transpose(1, 2), batch["labels"], reduction="none"
            )
            return losses.sum(dim=1)  # (B,)

        chats = [self._chat(document) for document in documents]
        nll = np.array(outputs(model, [chat.row for chat in chats], self._pad, forward), np.float64)
        tokens = [sum(label != IGNORE for label in chat.row["labels"]) for chat in chats]
        sizes = [chat.answer_bytes for chat in chats]
        return Scores(nll, np.array(tokens, np.int64), np.array(sizes, np.int64))

    def _chat(self, document: Document) -> _Chat:
        messages = json.loads(document.fields["messages"])
        encoded = [message_tokens(self.words, message) for message in messages]
        excess = sum(len(tokens) for tokens, _ in encoded) - self.length
        is_cut = excess > 0
        ids: list[int] = []
        answers: list[int] = []  # bytes of the answer that each token stands for; -1: not of one
        for message, (tokens, sizes) in zip(messages, encoded, strict=True):
            if message["role"] == "assistant":
                ids += tokens
                answers += [-1, *sizes[1:]]
                continue
            lost = min(max(0, excess), len(tokens) - 2)  # role and end stay
            excess -= lost
            ids += [tokens[0], *tokens[1 + lost :]]
            answers += [-1] * (len(tokens) - lost)
        ids, answers = ids[: self.length], answers[: self.length]
        pairs = zip(ids[1:], answers[1:], strict=True)
        labels = [number if size >= 0 else IGNORE for number, size in pairs]
        row = {"input_ids": array("i", ids), "labels": array("i", [*labels, IGNORE])}
        return _Chat(row, sum(size for size in answers if size > 0), is_cut)
