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
from llmos.models.chat import Message, message_tokens, require_roles
from llmos.models.scoring import Scores
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe
from llmos.training.objectives.causal_lm import within_documents
from llmos.training.objectives.outputs import outputs
from llmos.training.objectives.token_loss import label_loss_sum


class _Chat(NamedTuple):
    """A chat as a row of its own, and how many tokens are left of each answer's content."""

    row: dict[str, array[int]]
    left: list[int]
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
        # What fills a row is never looked at. Of padding transformers would warn: it sees no mask.
        self._pad = {"input_ids": words.roles["<|user|>"], "labels": IGNORE}

    def batches(self, documents: Sequence[Document], seed: int) -> PackedExamples:
        chats = self._chats([_messages(document) for document in documents])
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
        return {"token": label_loss_sum(model, batch["labels"], **inputs, use_cache=False)}

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

        messages = [_messages(document) for document in documents]
        chats = self._chats(messages)
        nll = np.array(outputs(model, [chat.row for chat in chats], self._pad, forward), np.float64)
        tokens = [sum(label != IGNORE for label in chat.row["labels"]) for chat in chats]
        sizes = [self._bytes(*pair) for pair in zip(messages, chats, strict=True)]
        return Scores(nll, np.array(tokens, np.int64), np.array(sizes, np.int64))

    def _chats(self, documents: Sequence[Sequence[Message]]) -> list[_Chat]:
        contents = [message["content"] for messages in documents for message in messages]
        encoded = iter(self.words.encode_all(contents))
        return [self._chat(messages, [next(encoded) for _ in messages]) for messages in documents]

    def _chat(self, messages: Sequence[Message], contents: Sequence[list[int]]) -> _Chat:
        """The row of a chat whose contents have these ids."""
        excess = sum(len(content) + 2 for content in contents) - self.length
        is_cut = excess > 0
        ids: list[int] = []
        labels: list[int] = []  # where transformers has them: at the token itself
        left: list[int] = []
        for message, content in zip(messages, contents, strict=True):
            is_answer = message["role"] == "assistant"
            lost = 0 if is_answer else min(max(0, excess), len(content))
            excess -= lost
            tokens = message_tokens(self.words, message["role"], content[lost:])
            if is_answer:
                left.append(max(0, min(len(content), self.length - len(ids) - 1)))
            ids += tokens
            labels += [IGNORE, *tokens[1:]] if is_answer else [IGNORE] * len(tokens)
        labels = [*labels[1 : self.length], IGNORE]
        row = {"input_ids": array("i", ids[: self.length]), "labels": array("i", labels)}
        return _Chat(row, left, is_cut)

    def _bytes(self, messages: Sequence[Message], chat: _Chat) -> int:
        """The UTF-8 bytes of what is left of the answers."""
        answers = [m["content"] for m in messages if m["role"] == "assistant"]
        sizes = [self.words.encode_with_bytes(answer)[1] for answer in answers]
        return sum(int(size[:left].sum()) for size, left in zip(sizes, chat.left, strict=True))


def _messages(document: Document) -> list[Message]:
    found: list[Message] = json.loads(document.fields["messages"])
    return found
