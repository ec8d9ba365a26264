"""Source to target: an encoder reads the one, a decoder writes the other, as in translation.

Both are framed as the tokenizer does it (T5: text </s>, BART: <s> text </s>); where it does nothing
they get the end of text. Shapes: B pairs, S source tokens, T target tokens, V vocabulary.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from llmos.data.batches import IGNORE, Batch
from llmos.data.documents import Document
from llmos.data.padded import PaddedExamples
from llmos.errors import RecipeError
from llmos.models.framing import frame_of_one
from llmos.models.scoring import Scores
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe
from llmos.training.objectives.outputs import outputs
from llmos.training.objectives.token_loss import label_loss_sum


class Seq2Seq:
    """Pairs of texts. A source or target that is too long loses its end.

    Both have at most the recipe's sequence length. `cut` counts the pairs that lost something when
    `batches` was called last.
    """

    head = "seq2seq"
    record = "pair"

    def __init__(self, recipe: Recipe, words: Vocabulary) -> None:
        self.words = words
        self.cut = 0
        self._pad = {"input_ids": words.pad, "attention_mask": 0, "labels": IGNORE}
        self._before, after = frame_of_one(words)
        self._after = after or [words.end]
        special = len(self._before) + len(self._after)
        self._room = recipe.training.sequence_length - special
        if self._room < 1:
            raise RecipeError(
                f"training.sequence_length = {recipe.training.sequence_length} leaves no room for "
                f"a text beside {special} special tokens: raise it"
            )

    def batches(self, documents: Sequence[Document], seed: int) -> PaddedExamples:
        sources = self.words.encode_all([document.fields["source"] for document in documents])
        targets = self.words.encode_all([document.fields["target"] for document in documents])
        pairs = list(zip(sources, targets, strict=True))
        self.cut = sum(max(len(source), len(target)) > self._room for source, target in pairs)
        return PaddedExamples([self._row(*pair) for pair in pairs], self._pad, seed)

    def counts(self, batch: Batch) -> dict[str, int]:
        return {"token": int(np.count_nonzero(batch["labels"] != IGNORE))}

    def tokens(self, batch: Batch) -> int:
        return int(batch["attention_mask"].sum()) + self.counts(batch)["token"]

    def losses(
        self, model: nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        inputs = self._inputs(model, batch)
        return {"token": label_loss_sum(model, batch["labels"], **inputs)}

    def score(
        self, model: nn.Module, documents: Sequence[Document], *, block_bytes: int = 0
    ) -> Scores:
        """The surprise at each document's target, its end included, whatever `block_bytes`."""
        sources = self.words.encode_all([document.fields["source"] for document in documents])
        targets = [self.words.encode_with_bytes(d.fields["target"]) for d in documents]
        rows = [self._row(s, t) for s, (t, _) in zip(sources, targets, strict=True)]

        def forward(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
            logits, labels = model(**self._inputs(model, batch)).logits.float(), batch["labels"]
            losses = functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
            return losses.sum(dim=1)  # (B,)

        nll = np.array(outputs(model, rows, self._pad, forward), np.float64)
        tokens = [len(row["labels"]) for row in rows]
        sizes = [int(lengths[: self._room].sum()) for _, lengths in targets]
        return Scores(nll, np.array(tokens, np.int64), np.array(sizes, np.int64))

    def _row(self, source: list[int], target: list[int]) -> dict[str, array[int]]:
        ids = array("i", [*self._before, *source[: self._room], *self._after])
        labels = array("i", [*self._before, *target[: self._room], *self._after])
        mask = array("b", [1]) * len(ids)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def _inputs(self, model: nn.Module, batch: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """What the model reads: the decoder the target one place later, as T5 shifts it."""
        labels = batch["labels"]
        start = getattr(getattr(model, "config", None), "decoder_start_token_id", None)
        first = torch.full_like(labels[:, :1], self.words.pad if start is None else start)
        shifted = torch.cat([first, labels[:, :-1]], dim=1)  # (B, T)
        return {
            "input_ids": batch["input_ids"],
            "attention_mask": batch["attention_mask"],
            "decoder_input_ids": shifted.masked_fill(shifted == IGNORE, self.words.pad),
            "use_cache": False,
        }
